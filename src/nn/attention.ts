/** Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), for training, prefill and decoding alike. */

import { ArgumentError, ShapeError } from "../errors.js";
import { type Dim, divideExactly, formatShape, isStaticShape, mulDims, subDims } from "../graph/dim.js";
import { add } from "../graph/ops/arithmetic.js";
import { broadcastTo } from "../graph/ops/broadcasting.js";
import { matmul } from "../graph/ops/matmul.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { isFetched, isTraining, named } from "../graph/trace.js";
import { alibiBias } from "./alibi.js";
import { BLOCK, blockwiseAttention } from "./blockwise-attention.js";
import { dropout } from "./dropout.js";
import { type Mask, masked } from "./mask.js";
import { softCapped } from "./soft-cap.js";

export { causal, type Mask } from "./mask.js";

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
  /** Scores are bent into (−cap, cap) by cap·tanh(score/cap) (Bello et al. 2017; Gemma 2). Default: not at all. */
  readonly softCap?: number | undefined;
  /** ALiBi: what each query head subtracts from its scores for each position of distance. Default: nothing. */
  readonly slopes?: readonly number[];
  /** Added to the scores, [heads or 1, seq or 1, keys]: relative positions that are learned, for example. Default: nothing. */
  readonly bias?: Tensor;
  /** A learned score [heads] of nothing at all, so that a head may look at no key (Agarwal et al. 2025, "gpt-oss"). Default: none. */
  readonly sinkScores?: Tensor;
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
  const { mask = {}, cache, dropout: dropped = 0, softCap, slopes, bias, sinkScores } = options;
  const { keys, values } = cache ? cache.append(k, v) : { keys: k, values: v };
  const [batch, heads, seq, headDim] = dims4(q);
  const [, kvHeads, keyCount] = dims4(keys);
  const group = divideExactly(heads, kvHeads);
  if (group === undefined)
    throw new ShapeError(`attend: ${String(heads)} query heads cannot share ${String(kvHeads)} key heads evenly.`);
  if (slopes && slopes.length !== heads)
    throw new ArgumentError(`attend: ${slopes.length} slopes were given for ${String(heads)} heads.`);
  const scale = options.scale ?? 1 / Math.sqrt(headDim as number);

  // In training the sizes are known: blocks can leave out what no query sees and forget the weights until the backward pass.
  const whole = isFetched("weights") || dropped > 0 || bias !== undefined || sinkScores !== undefined || (mask.sinks ?? 0) > 0;
  if (isTraining() && !whole && mask.causal && isStaticShape(q.shape) && seq === keyCount && (seq as number) > BLOCK)
    return blockwiseAttention(q, keys, values, { mask, scale, softCap, slopes });

  const grouped = reshape(q, [batch, kvHeads, group, seq, headDim]);
  const perGroup = (x: Tensor) => reshape(x, [batch, kvHeads, 1, keyCount, headDim]);
  let scores = matmul(grouped, perGroup(keys), { transposeB: true, scale }); // [batch, kvHeads, group, seq, keys]
  if (softCap !== undefined) scores = softCapped(scores, softCap);
  if (slopes) scores = add(scores, alibiBias(slopes, kvHeads as number, keyCount));
  if (bias) scores = add(scores, bias.size(0) === 1 ? bias : reshape(bias, [kvHeads, group, bias.size(1), keyCount]));
  scores = masked(scores, mask, { firstQuery: subDims(keyCount, seq), queries: seq, firstKey: 0, keys: keyCount });
  const weights = sinkScores ? softmaxBesideSink(scores, sinkScores) : softmax(scores);
  named("weights", reshape(weights, [batch, heads, seq, keyCount]));
  const mixed = matmul(dropout(weights, dropped, "weights"), perGroup(values));
  return reshape(mixed, [batch, heads, seq, headDim]);
}

/** softmax over the keys and one more place, whose weight is then left out. */
function softmaxBesideSink(scores: Tensor, sinkScores: Tensor): Tensor {
  const [batch, kvHeads, group, seq, keys] = scores.shape as unknown as readonly [Dim, Dim, Dim, Dim, Dim];
  const sink = broadcastTo(reshape(sinkScores, [1, kvHeads, group, 1, 1]), [batch, kvHeads, group, seq, 1]);
  return slice(softmax(concat([scores, sink], 4)), 4, 0, keys);
}

function dims4(x: Tensor): readonly [Dim, Dim, Dim, Dim] {
  if (x.rank !== 4) throw new ShapeError(`attend: expected [batch, heads, seq, headDim], but ${formatShape(x.shape)} was given.`);
  return x.shape as unknown as readonly [Dim, Dim, Dim, Dim];
}
