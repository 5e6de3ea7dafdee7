/** Which keys a query may see: one notion of visibility for whole attention and for blocks of it. */

import { addDims, type Dim, isStaticShape, SymbolicDim } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { and, equal, greaterEqual, less, lessEqual, or } from "../graph/ops/compare.js";
import { range } from "../graph/ops/range.js";
import { any } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { Tensor } from "../graph/tensor.js";
import { partOf } from "./score-operand.js";

/**
 * Which keys a query may see. Conditions that are given are combined: all of them must hold. Queries are the last positions of
 * the keys; places are counted among the keys from 0, padding included.
 *
 * A query that may see no key at all, such as padding on the left, gets zeros, and nothing flows back from it.
 */
export interface Mask {
  /** No key after the query. */
  readonly causal?: boolean;
  /** No key more than so many positions after the query; `causal` is 0. Local attention of encoders has both bounds. */
  readonly lookahead?: number | undefined;
  /** No key more than `window − 1` positions before the query (Beltagy et al. 2020). */
  readonly window?: number | undefined;
  /** The first keys stay visible behind the window: attention sinks (Xiao et al. 2024, "StreamingLLM"). Default 0. */
  readonly sinks?: number | undefined;
  /**
   * So many first keys are visible to queries before them too: a prefix that is read in both directions (Raffel et al. 2020, "T5",
   * section 3.2.1). One number, or int [batch] with one for each row. It lifts `causal` and `lookahead`, nothing else.
   */
  readonly prefix?: number | Tensor | undefined;
  /** bool [batch, keys]: which keys are real and not padding. */
  readonly keys?: Tensor | undefined;
  /**
   * int [batch, seq]: the document of each position, where several are packed into one row; a query sees keys of its own document
   * alone. One tensor where queries and keys are the same positions, two where they are not.
   */
  readonly segments?: Tensor | { readonly queries: Tensor; readonly keys: Tensor } | undefined;
  /** Any other condition: a bool that broadcasts to [batch, heads, queries, keys]. */
  readonly visible?: Tensor | undefined;
}

export const causal: Mask = { causal: true };

/** Queries and keys that meet: the index of the first of each, and how many there are. */
export interface Meeting {
  readonly firstQuery: Dim;
  readonly queries: Dim;
  readonly firstKey: Dim;
  readonly keys: Dim;
  /** The place of query 0 among the keys. */
  readonly offset: Dim;
}

/** Far below any score, yet finite: a row without any visible key becomes uniform instead of NaN. */
const hiddenScore = (dtype: string): number => (dtype === "float16" ? -3e4 : -1e9);

/**
 * Scores [batch, kvHeads, group, queries, keys] with those of invisible keys far below all others.
 *
 * @param visible what `visibility` gives
 */
export function masked(scores: Tensor, visible: Tensor | undefined): Tensor {
  if (!visible) return scores;
  const { dtype } = scores;
  const hidden = hiddenScore(dtype);
  // Added, where all rows and heads share it: one pass over the scores whose operand is small. A bias of floats for each row of the
  // batch would be four times as large as the bools that padding and documents make.
  return visible.rank === 2
    ? add(scores, where(visible, constant(0, dtype), constant(hidden, dtype)))
    : where(visible, scores, hidden);
}

/** Whether a mask has conditions that differ between rows or heads, so that `visibility` has five axes. */
export const differsByRow = ({ keys, segments, visible, prefix }: Mask): boolean =>
  keys !== undefined || segments !== undefined || (visible !== undefined && visible.rank > 2) || prefix instanceof Tensor;

/** Whether a mask is about distances alone: those that meet can then be counted from any place. */
export const countsDistances = (mask: Mask): boolean =>
  !differsByRow(mask) && mask.visible === undefined && (mask.sinks ?? 0) === 0 && mask.prefix === undefined;

/** The furthest key after a query that it may see, a prefix aside; infinite where there is no bound. */
export const lookaheadOf = ({ causal: isCausal, lookahead = Number.POSITIVE_INFINITY }: Mask): number =>
  isCausal ? Math.min(0, lookahead) : lookahead;

/** bool [queries, keys], or five axes [batch, kvHeads, group, queries, keys] with ones in between; `undefined` when everything is visible. */
export function visibility(mask: Mask, meeting: Meeting): Tensor | undefined {
  const { window, sinks = 0, prefix, keys: real, segments, visible } = mask;
  const { firstQuery, queries, firstKey, keys, offset } = meeting;
  const conditions: Tensor[] = [];
  const lookahead = lookaheadOf(mask);
  const hidesLater = lookahead < Number.POSITIVE_INFINITY && !allBefore(lookahead, meeting);
  const hidesFar = window !== undefined && !allWithin(window, meeting);
  if (hidesLater || hidesFar) {
    const queryPlaces = reshape(range(queries, "int32", addDims(firstQuery, offset)), [queries, 1]);
    const keyPlaces = range(keys, "int32", firstKey);
    if (hidesLater) {
      const before = lookahead === 0 ? greaterEqual(queryPlaces, keyPlaces) : lessEqual(sub(keyPlaces, queryPlaces), lookahead);
      conditions.push(prefix === undefined ? before : or(before, inPrefix(keyPlaces, prefix)));
    }
    if (hidesFar) {
      const near = less(sub(queryPlaces, keyPlaces), window);
      conditions.push(sinks > 0 ? or(near, less(keyPlaces, sinks)) : near);
    }
  }
  if (real) conditions.push(partOf(acrossKeys(real), meeting));
  if (segments) {
    const { ofQueries, ofKeys } = segmentsOf(segments);
    conditions.push(equal(partOf(acrossQueries(ofQueries), meeting), partOf(acrossKeys(ofKeys), meeting)));
  }
  if (visible) conditions.push(partOf(visible, meeting));
  return conditions.length ? conditions.reduce((a, b) => and(a, b)) : undefined;
}

/**
 * Which queries see a key at all: bool of `visible`'s shape with one key.
 *
 * @param visible what `visibility` gives
 */
export const sight = (visible: Tensor): Tensor => any(visible, { axes: [-1], keepDims: true });

/** Whether there may be queries that see no key. */
export function mayBeBlind(mask: Mask, offset: Dim): boolean {
  const { keys, segments, visible } = mask;
  if (keys || visible || (segments && !(segments instanceof Tensor))) return true;
  // Where nothing else hides keys, a query sees its own position, if that is one of the keys.
  const lookahead = lookaheadOf(mask);
  return lookahead < Number.POSITIVE_INFINITY && !isNonNegative(addDims(offset, lookahead));
}

/** Not below 0 whatever its symbols are. */
const isNonNegative = (dim: Dim): boolean =>
  dim instanceof SymbolicDim ? dim.terms.every(({ coefficient }) => coefficient > 0) : dim >= 0;

const inPrefix = (keyPlaces: Tensor, prefix: number | Tensor): Tensor =>
  less(keyPlaces, typeof prefix === "number" ? prefix : reshape(cast(prefix, "int32"), [prefix.size(0), 1, 1, 1, 1]));

/** x [batch, keys] → [batch, 1, 1, 1, keys] */
const acrossKeys = (x: Tensor): Tensor => reshape(x, [x.size(0), 1, 1, 1, x.size(1)]);

/** x [batch, queries] → [batch, 1, 1, queries, 1] */
const acrossQueries = (x: Tensor): Tensor => reshape(x, [x.size(0), 1, 1, x.size(1), 1]);

function segmentsOf(segments: Tensor | { readonly queries: Tensor; readonly keys: Tensor }) {
  return segments instanceof Tensor
    ? { ofQueries: segments, ofKeys: segments }
    : { ofQueries: segments.queries, ofKeys: segments.keys };
}

/** No key comes too far after the first query, as far as the sizes are known. */
const allBefore = (lookahead: number, { firstQuery, offset, firstKey, keys }: Meeting): boolean =>
  isStaticShape([firstQuery, offset, firstKey, keys]) &&
  (firstKey as number) + (keys as number) - 1 <= (firstQuery as number) + (offset as number) + lookahead;

/** The last query sees the first key, as far as the sizes are known. */
const allWithin = (window: number, { firstQuery, offset, queries, firstKey }: Meeting): boolean =>
  isStaticShape([firstQuery, offset, queries, firstKey]) &&
  (firstQuery as number) + (offset as number) + (queries as number) - 1 - (firstKey as number) < window;
