/** Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), for training, prefill and decoding alike. */

import { ArgumentError, ShapeError } from "../errors.js";
import { type Dim, divideExactly, formatShape, isStaticShape, mulDims, sameDim, subDims } from "../graph/dim.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { isFetched, isTraining } from "../graph/trace.js";
import { BLOCK } from "./attention-blocks.js";
import { blockwiseAttention } from "./blockwise-attention.js";
import { keptInTraining } from "./dropout.js";
import { lookaheadOf, type Mask } from "./mask.js";
import { groupedOperand } from "./score-operand.js";
import { type Attention, wholeAttention } from "./whole-attention.js";

export { causal, type Mask } from "./mask.js";

/** Keys and values of earlier calls, kept for one layer. */
export interface LayerCache {
  /** Adds the new keys and values [batch, kvHeads, seq, headDim] and returns all there are so far. Values may have a width of their own. */
  append(keys: Tensor, values: Tensor): { readonly keys: Tensor; readonly values: Tensor };
}

export interface AttendOptions {
  readonly mask?: Mask | undefined;
  readonly cache?: LayerCache | undefined;
  /** Factor on the scores. Default 1/√headDim, which keeps their variance at 1 when queries and keys have variance 1. */
  readonly scale?: number;
  /** Share of attention weights that are dropped in training. Default 0. */
  readonly dropout?: number;
  /** Scores are bent into (−cap, cap) by cap·tanh(score/cap) (Bello et al. 2017; Gemma 2). Default: not at all. */
  readonly softCap?: number | undefined;
  /** ALiBi: what each query head subtracts from its scores for each position of distance, in either direction. Default: nothing. */
  readonly slopes?: readonly number[] | undefined;
  /**
   * Added to the scores; broadcasts to [batch, heads, seq, keys] and gets gradients: relative positions that are learned, for example.
   * Default: nothing.
   */
  readonly bias?: Tensor | undefined;
  /** A learned score [heads] of nothing at all, so that a head may look at no key (Agarwal et al. 2025, "gpt-oss"). Default: none. */
  readonly sinkScores?: Tensor | undefined;
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
 * query heads (Ainslie et al. 2023). Queries are the last positions of the keys; where nothing counts places (no `causal`, no window)
 * they may as well be positions of another sequence. A query that may see no key gets zeros, and nothing flows back from it.
 *
 * Long sequences whose sizes are known while tracing go by blocks of queries, in training or not: neither scores nor weights exist whole.
 * The attention weights can be fetched as `weights` [batch, heads, seq, keys] of the calling module; then they do.
 *
 * @param q [batch, heads, seq, headDim]
 * @param k [batch, kvHeads, keys, headDim]
 * @param v [batch, kvHeads, keys, valueDim]
 * @returns [batch, heads, seq, valueDim]
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: AttendOptions = {}): Tensor {
  const attention = attentionOf(q, k, v, options);
  return wholeOnly || isFetched("weights") || !isLong(attention) ? wholeAttention(attention) : blockwiseAttention(attention);
}

let wholeOnly = false;

/** Runs `fn` with whole attention in place of blocks, to compare the two. */
export function withWholeAttention<R>(fn: () => R): R {
  const before = wholeOnly;
  wholeOnly = true;
  try {
    return fn();
  } finally {
    wholeOnly = before;
  }
}

/** What the forms of attention start from: checked, with all defaults. */
export function attentionOf(q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Attention {
  const { mask = {}, cache, dropout = 0, softCap, slopes, bias, sinkScores } = options;
  const { keys, values } = cache ? cache.append(k, v) : { keys: k, values: v };
  const [batch, heads, queryCount, headDim] = dims4(q);
  const [, kvHeads, keyCount] = dims4(keys);
  const [, valueHeads, valueCount] = dims4(values);
  const group = divideExactly(heads, kvHeads);
  if (group === undefined)
    throw new ShapeError(`attend: ${String(heads)} query heads cannot share ${String(kvHeads)} key heads evenly.`);
  if (!sameDim(valueHeads, kvHeads) || !sameDim(valueCount, keyCount))
    throw new ShapeError(
      `attend: values ${formatShape(values.shape)} need as many heads and positions as keys ${formatShape(keys.shape)}.`,
    );
  if (slopes && slopes.length !== heads)
    throw new ArgumentError(`attend: ${slopes.length} slopes were given for ${String(heads)} heads.`);

  const sizes = { batch, kvHeads, group, heads, queries: queryCount, keys: keyCount };
  return {
    ...{ q, keys, values, sizes, softCap, slopes, sinkScores, dropout },
    offset: subDims(keyCount, queryCount),
    scale: options.scale ?? 1 / Math.sqrt(headDim as number),
    mask: mask.visible ? { ...mask, visible: groupedOperand(mask.visible, sizes, "the visibility") } : mask,
    bias: bias && groupedOperand(bias, sizes, "the bias"),
    keep: keptInTraining([batch, heads, queryCount, keyCount], dropout, "weights"),
  };
}

/**
 * Whether blocks pay: they can leave out keys that no query sees, and forget the weights until the backward pass. Without a bound on the
 * keys a block only saves memory. Measured on ONNX Runtime with 12 heads of 64: forward alone blocks are no slower from 256 keys on; with
 * the backward pass, which computes the weights again, 512 keys take a third longer.
 */
function isLong({ q, keys, mask, sizes }: Attention): boolean {
  if (!isStaticShape(q.shape) || !isStaticShape(keys.shape)) return false;
  const [queryCount, keyCount] = [sizes.queries as number, sizes.keys as number];
  const bounded = lookaheadOf(mask) < Number.POSITIVE_INFINITY || mask.window !== undefined;
  return queryCount > BLOCK && keyCount > (bounded ? 0 : isTraining() ? 4 * BLOCK : 2 * BLOCK);
}

function dims4(x: Tensor): readonly [Dim, Dim, Dim, Dim] {
  if (x.rank !== 4) throw new ShapeError(`attend: expected [batch, heads, seq, headDim], but ${formatShape(x.shape)} was given.`);
  return x.shape as unknown as readonly [Dim, Dim, Dim, Dim];
}
