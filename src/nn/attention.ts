/** Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), for training, prefill and decoding alike. */

import { ShapeError } from "../errors.js";
import { type Dim, divideExactly, formatShape, isStaticShape, mulDims, sameDim, subDims } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, sub } from "../graph/ops/arithmetic.js";
import { and, equal, greaterEqual, less } from "../graph/ops/compare.js";
import { matmul } from "../graph/ops/matmul.js";
import { range } from "../graph/ops/range.js";
import { where } from "../graph/ops/select.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { isFetched, isTraining, named } from "../graph/trace.js";
import { BLOCK, blockwiseAttention } from "./blockwise-attention.js";
import { dropout } from "./dropout.js";

/** Which keys a query may see. Conditions that are given are combined. */
export interface Mask {
  /** No key after the query. */
  readonly causal?: boolean;
  /** No key more than `window − 1` positions before the query (Beltagy et al. 2020). */
  readonly window?: number;
  /** bool [batch, keys]: which keys are real and not padding. */
  readonly keys?: Tensor;
  /**
   * int [batch, seq]: the document of each position, where several are packed into one row; a query sees keys of its own
   * document alone. For queries and keys that are the same positions, so not together with a cache.
   */
  readonly segments?: Tensor;
}

export const causal: Mask = { causal: true };

/** Keys and values of earlier calls, kept for one layer. */
export interface LayerCache {
  /** Adds the new keys and values [batch, kvHeads, seq, headDim] and returns all there are so far. */
  append(keys: Tensor, values: Tensor): { readonly keys: Tensor; readonly values: Tensor };
}

export interface AttendOptions {
  readonly mask?: Mask;
  readonly cache?: LayerCache | undefined;
  /** Factor on the scores. Default 1/√headDim, which keeps their variance at 1 when queries and keys have variance 1. */
  readonly scale?: number;
  /** Share of attention weights that are dropped in training. Default 0. */
  readonly dropout?: number;
}

/** x [batch, seq, heads · headDim] → [batch, heads, seq, headDim] */
export function splitHeads(x: Tensor, headDim: number): Tensor {
  const heads = divideExactly(x.size(-1), headDim);
  if (heads === undefined) throw new ShapeError(`${x.describe()} cannot be split into heads of ${headDim}.`);
  return transpose(reshape(x, [x.size(0), x.size(1), heads, headDim]), [0, 2, 1, 3]);
}

/** x [batch, heads, seq, headDim] → [batch, seq, heads · headDim] */
export function mergeHeads(x: Tensor): Tensor {
  return reshape(transpose(x, [0, 2, 1, 3]), [x.size(0), x.size(2), mulDims(x.size(1), x.size(3))]);
}

/**
 * softmax(q·kᵀ·scale + mask)·v. Queries may have more heads than keys and values: each key head then serves a group of
 * query heads (Ainslie et al. 2023). Queries are the last positions of the keys.
 *
 * The attention weights can be fetched as `weights` [batch, heads, seq, keys] of the calling module.
 *
 * @param q [batch, heads, seq, headDim]
 * @param k [batch, kvHeads, keys, headDim]
 * @param v [batch, kvHeads, keys, headDim]
 * @returns [batch, heads, seq, headDim]
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: AttendOptions = {}): Tensor {
  const { mask = {}, cache, dropout: dropped = 0 } = options;
  const { keys, values } = cache ? cache.append(k, v) : { keys: k, values: v };
  const [batch, heads, seq, headDim] = dims4(q);
  const [, kvHeads, keyCount] = dims4(keys);
  const group = divideExactly(heads, kvHeads);
  if (group === undefined)
    throw new ShapeError(`attend: ${String(heads)} query heads cannot share ${String(kvHeads)} key heads evenly.`);
  const scale = options.scale ?? 1 / Math.sqrt(headDim as number);

  // In training the sizes are known: blocks can leave out the masked triangle and forget the weights until the backward pass.
  const plain = isFetched("weights") || dropped > 0 || mask.keys !== undefined || mask.window !== undefined;
  if (isTraining() && !plain && mask.causal && isStaticShape(q.shape) && seq === keyCount && (seq as number) > BLOCK)
    return blockwiseAttention(q, keys, values, { scale, ...(mask.segments ? { segments: mask.segments } : {}) });

  const grouped = reshape(q, [batch, kvHeads, group, seq, headDim]);
  const perGroup = (x: Tensor) => reshape(x, [batch, kvHeads, 1, keyCount, headDim]);
  const scores = matmul(grouped, perGroup(keys), { transposeB: true, scale }); // [batch, kvHeads, group, seq, keys]
  const visible = visibility(mask, seq, keyCount);
  // Added, not chosen: one pass over the scores whose operand is small and shared by all layers.
  const weights = softmax(visible ? add(scores, where(visible, constant(0), constant(MASKED))) : scores);
  named("weights", reshape(weights, [batch, heads, seq, keyCount]));
  const mixed = matmul(dropout(weights, dropped, "weights"), perGroup(values));
  return reshape(mixed, [batch, heads, seq, headDim]);
}

/** Far below any score, yet finite: a row without any visible key becomes uniform instead of NaN. */
const MASKED = -1e9;

/** bool, broadcastable to [batch, kvHeads, group, seq, keys]; `undefined` when everything is visible. */
function visibility({ causal: isCausal, window, keys: real, segments }: Mask, seq: Dim, keyCount: Dim): Tensor | undefined {
  const conditions: Tensor[] = [];
  if (isCausal || window !== undefined) {
    const queryPositions = reshape(range(seq, "int32", subDims(keyCount, seq)), [seq, 1]);
    const keyPositions = range(keyCount, "int32");
    if (isCausal) conditions.push(greaterEqual(queryPositions, keyPositions));
    if (window !== undefined) conditions.push(less(sub(queryPositions, keyPositions), window));
  }
  if (real) conditions.push(reshape(real, [real.size(0), 1, 1, 1, real.size(1)]));
  if (segments) {
    if (!sameDim(seq, keyCount))
      throw new ShapeError(`attend: segments need as many queries as keys, but there are ${String(seq)} and ${String(keyCount)}.`);
    const batch = segments.size(0);
    conditions.push(equal(reshape(segments, [batch, 1, 1, seq, 1]), reshape(segments, [batch, 1, 1, 1, seq])));
  }
  return conditions.length ? conditions.reduce((a, b) => and(a, b)) : undefined;
}

function dims4(x: Tensor): readonly [Dim, Dim, Dim, Dim] {
  if (x.rank !== 4) throw new ShapeError(`attend: expected [batch, heads, seq, headDim], but ${formatShape(x.shape)} was given.`);
  return x.shape as unknown as readonly [Dim, Dim, Dim, Dim];
}
