/** Which keys a query may see. */

import { ShapeError } from "../errors.js";
import { addDims, type Dim, isStaticShape, sameDim } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, sub } from "../graph/ops/arithmetic.js";
import { and, equal, greaterEqual, less, or } from "../graph/ops/compare.js";
import { range } from "../graph/ops/range.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { slice } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";

/** Which keys a query may see. Conditions that are given are combined. */
export interface Mask {
  /** No key after the query. */
  readonly causal?: boolean;
  /** No key more than `window − 1` positions before the query (Beltagy et al. 2020). */
  readonly window?: number | undefined;
  /** The first keys stay visible behind the window: attention sinks (Xiao et al. 2024, "StreamingLLM"). Default 0. */
  readonly sinks?: number;
  /** bool [batch, keys]: which keys are real and not padding. */
  readonly keys?: Tensor;
  /**
   * int [batch, seq]: the document of each position, where several are packed into one row; a query sees keys of its own
   * document alone. For queries and keys that are the same positions, so not together with a cache.
   */
  readonly segments?: Tensor;
}

export const causal: Mask = { causal: true };

/** Queries and keys that meet: the place of the first of each among all keys, and how many there are. */
export interface Meeting {
  readonly firstQuery: Dim;
  readonly queries: Dim;
  readonly firstKey: Dim;
  readonly keys: Dim;
}

/** Far below any score, yet finite: a row without any visible key becomes uniform instead of NaN. */
const MASKED = -1e9;

/** Scores [batch, kvHeads, group, queries, keys] with those of invisible keys far below all others. */
export function masked(scores: Tensor, mask: Mask, meeting: Meeting): Tensor {
  const visible = visibility(mask, meeting);
  if (!visible) return scores;
  // Added, where all rows and heads share it: one pass over the scores whose operand is small. A bias of floats for each row of the
  // batch would be four times as large as the bools that padding and documents make.
  return visible.rank === 2 ? add(scores, where(visible, constant(0), constant(MASKED))) : where(visible, scores, MASKED);
}

/** bool [queries, keys] or [batch, 1, 1, queries or 1, keys]; `undefined` when everything is visible. */
function visibility({ causal: isCausal, window, sinks = 0, keys: real, segments }: Mask, meeting: Meeting): Tensor | undefined {
  const { firstQuery, queries, firstKey, keys } = meeting;
  const conditions: Tensor[] = [];
  const hidesLater = isCausal && !allBefore(meeting);
  const hidesFar = window !== undefined && !allWithin(window, meeting);
  if (hidesLater || hidesFar) {
    const queryPlaces = reshape(range(queries, "int32", firstQuery), [queries, 1]);
    const keyPlaces = range(keys, "int32", firstKey);
    if (hidesLater) conditions.push(greaterEqual(queryPlaces, keyPlaces));
    if (hidesFar) {
      const near = less(sub(queryPlaces, keyPlaces), window);
      conditions.push(sinks > 0 ? or(near, less(keyPlaces, sinks)) : near);
    }
  }
  if (real) conditions.push(reshape(part(real, firstKey, keys), [real.size(0), 1, 1, 1, keys]));
  if (segments) {
    const batch = segments.size(0);
    const ofQueries = reshape(part(segments, firstQuery, queries), [batch, 1, 1, queries, 1]);
    conditions.push(equal(ofQueries, reshape(part(segments, firstKey, keys), [batch, 1, 1, 1, keys])));
  }
  return conditions.length ? conditions.reduce((a, b) => and(a, b)) : undefined;
}

/** No key comes after the first query, as far as the sizes are known. */
const allBefore = ({ firstQuery, firstKey, keys }: Meeting): boolean =>
  isStaticShape([firstQuery, firstKey, keys]) && (firstKey as number) + (keys as number) - 1 <= (firstQuery as number);

/** The last query sees the first key, as far as the sizes are known. */
const allWithin = (window: number, { firstQuery, queries, firstKey }: Meeting): boolean =>
  isStaticShape([firstQuery, queries, firstKey]) &&
  (firstQuery as number) + (queries as number) - 1 - (firstKey as number) < window;

/** The columns of x [batch, keys] from `first` on. */
function part(x: Tensor, first: Dim, count: Dim): Tensor {
  if (first === 0 && sameDim(x.size(1), count)) return x;
  if (typeof first === "number" && typeof count === "number" && first + count <= (x.size(1) as number))
    return slice(x, 1, first, first + count);
  throw new ShapeError(
    `attend: ${x.describe()} does not tell about ${String(count)} positions from ${String(addDims(first, 0))} on; segments need as many queries as keys.`,
  );
}
