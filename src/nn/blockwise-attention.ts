/**
 * Causal attention in blocks of queries, for training: each block meets only the keys that it may see, and the weights
 * are computed again in the backward pass instead of being kept (Dao et al. 2022, "FlashAttention", at the graph's level).
 */

import { barrier } from "../graph/barrier.js";
import { customGradient } from "../graph/custom-gradient.js";
import type { Dim } from "../graph/dim.js";
import { add, div, mul, square, sub, tanh } from "../graph/ops/arithmetic.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, padAxis, slice } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { alibiBias } from "./alibi.js";
import { type Mask, masked } from "./mask.js";

/** Queries a block. Measured: smaller blocks skip more of the triangle, larger ones multiply faster. */
export const BLOCK = 128;
/** More blocks than that only cost: compiling them, and the time between operators. Longer sequences get longer blocks. */
const MOST_BLOCKS = 16;

interface Block {
  /** First query and one past the last. */
  readonly start: number;
  readonly end: number;
  /** First key that a query of the block may see, at the start of a block; the last is `end` − 1. */
  readonly from: number;
}

interface BlockwiseOptions {
  readonly scale: number;
  /** Causal. */
  readonly mask: Mask;
  readonly softCap?: number | undefined;
  readonly slopes?: readonly number[] | undefined;
}

/** q [batch, heads, seq, headDim], k and v [batch, kvHeads, seq, headDim] with concrete sizes → [batch, heads, seq, headDim] */
export function blockwiseAttention(q: Tensor, k: Tensor, v: Tensor, options: BlockwiseOptions): Tensor {
  const [output] = customGradient(
    (query, key, value) => [forward(query as Tensor, key as Tensor, value as Tensor, options)],
    ({ inputs: [query, key, value], outputs: [out], gradients: [dOut] }) =>
      backward(query as Tensor, key as Tensor, value as Tensor, out as Tensor, dOut as Tensor, options),
  )(q, k, v);
  return output as Tensor;
}

function forward(q: Tensor, k: Tensor, v: Tensor, options: BlockwiseOptions): Tensor {
  const outputs = blocksOf(q, options.mask).map((block) => {
    const { weights } = blockWeights(queriesOf(q, block), keysOf(k, block), block, options);
    return ungroup(matmul(weights, keysOf(v, block)), q);
  });
  return concat(outputs, 2);
}

/** Dao et al. 2022, algorithm 4, with softmax's gradient written as weights · (dWeights − Σ dOut·out). */
function backward(q: Tensor, k: Tensor, v: Tensor, out: Tensor, dOut: Tensor, options: BlockwiseOptions): readonly Tensor[] {
  const { scale, mask } = options;
  const blocks = blocksOf(q, mask);
  // Behind the barrier nothing can be taken from the forward pass and kept in memory all the while.
  const [lateQ, lateK, lateV] = [q, k, v].map((x) => barrier(x, dOut)) as [Tensor, Tensor, Tensor];
  const delta = sum(mul(dOut, out), { axes: [3], keepDims: true }); // [batch, heads, seq, 1]
  const dQ: Tensor[] = [];
  const dK: Tensor[] = [];
  const dV: Tensor[] = [];
  for (const block of blocks) {
    // One block at a time: each waits for what was made of the one before.
    const queries = barrier(queriesOf(lateQ, block), ...[dQ, dK, dV].flatMap((made) => made.slice(-1)));
    const keys = keysOf(lateK, block);
    const { weights, bend } = blockWeights(queries, keys, block, options); // [batch, kvHeads, group · block, keys]
    const dBlock = group(queriesOf(dOut, block), k);
    dV.push(matmul(weights, dBlock, { transposeA: true }));
    const dWeights = matmul(dBlock, keysOf(lateV, block), { transposeB: true });
    const dCapped = mul(weights, sub(dWeights, group(queriesOf(delta, block), k)));
    const dScores = bend ? mul(dCapped, bend) : dCapped;
    dQ.push(ungroup(matmul(dScores, keys, { scale }), q));
    dK.push(matmul(dScores, group(queries, k), { transposeA: true, scale }));
  }
  const summed = mask.window === undefined ? sumOfPrefixes : (parts: readonly Tensor[]) => sumOfStretches(parts, blocks);
  return [concat(dQ, 2), summed(dK), summed(dV)];
}

function blocksOf(q: Tensor, { window = Number.POSITIVE_INFINITY }: Mask): readonly Block[] {
  const seq = q.size(2) as number;
  const size = BLOCK * Math.ceil(seq / (MOST_BLOCKS * BLOCK));
  return Array.from({ length: Math.ceil(seq / size) }, (_, i) => ({
    start: i * size,
    end: Math.min(seq, (i + 1) * size),
    from: Math.max(0, Math.floor((i * size - window + 1) / size) * size),
  }));
}

const queriesOf = (x: Tensor, { start, end }: Block): Tensor => slice(x, 2, start, end);
const keysOf = (x: Tensor, { from, end }: Block): Tensor => slice(x, 2, from, end);

interface BlockWeights {
  /** Attention weights of a block's queries over the keys from its first to its end: [batch, kvHeads, group · block, keys] */
  readonly weights: Tensor;
  /** What the soft cap makes of a small change of a score, 1 − tanh², where there is one. */
  readonly bend?: Tensor | undefined;
}

/** @param queries and keys of the block */
function blockWeights(queries: Tensor, blockKeys: Tensor, { start, end, from }: Block, options: BlockwiseOptions): BlockWeights {
  const { scale, softCap, slopes } = options;
  const scores = matmul(group(queries, blockKeys), blockKeys, { transposeB: true, scale });
  const [batch, kvHeads, rows, keys] = scores.shape as unknown as readonly [Dim, number, number, number];
  const size = end - start;
  const bent = softCap === undefined ? undefined : tanh(div(scores, softCap));
  let byQuery = reshape(bent && softCap !== undefined ? mul(bent, softCap) : scores, [batch, kvHeads, rows / size, size, keys]);
  if (slopes) byQuery = add(byQuery, alibiBias(slopes, kvHeads, keys));
  // The places that blocks inside a window have in common are counted from their first key: all then share one mask.
  const shift = options.mask.window !== undefined && !options.mask.keys && !options.mask.segments ? from : 0;
  const meeting = { firstQuery: start - shift, queries: size, firstKey: from - shift, keys };
  return {
    weights: softmax(reshape(masked(byQuery, options.mask, meeting), scores.shape)),
    bend: bent && sub(1, square(bent)),
  };
}

/** Query heads that share a key head become rows of one product: [batch, heads, n, d] → [batch, kvHeads, group · n, d] */
function group(x: Tensor, k: Tensor): Tensor {
  const [batch, heads, rows, width] = x.shape as unknown as readonly [number, number, number, number];
  const kvHeads = k.size(1) as number;
  return reshape(x, [batch, kvHeads, (heads / kvHeads) * rows, width]);
}

/** Back to one row a query and head: [batch, kvHeads, group · n, d] → [batch, heads, n, d] */
function ungroup(x: Tensor, q: Tensor): Tensor {
  const [batch, heads] = q.shape as unknown as readonly [number, number];
  return reshape(x, [batch, heads, -1, x.size(3)]);
}

/** Sums gradients of key prefixes of growing length: each is padded with zeros at the end. */
function sumOfPrefixes(prefixes: readonly Tensor[]): Tensor {
  const longest = prefixes.at(-1) as Tensor;
  const total = longest.size(2) as number;
  return prefixes.reduce((sumSoFar, prefix) => {
    if (prefix === longest) return sumSoFar === longest ? longest : add(sumSoFar, longest);
    const missing = total - (prefix.size(2) as number);
    const padded = padAxis(prefix, 2, 0, missing);
    return sumSoFar === longest ? padded : add(sumSoFar, padded);
  }, longest);
}

/** Sums gradients of stretches of keys that overlap a little, as those behind a window do: block by block. */
function sumOfStretches(stretches: readonly Tensor[], blocks: readonly Block[]): Tensor {
  const chunks = blocks.map(({ start, end }) => {
    const parts = blocks.flatMap(({ from, end: last }, i) =>
      from <= start && end <= last ? [slice(stretches[i] as Tensor, 2, start - from, end - from)] : [],
    );
    return parts.reduce((a, b) => add(a, b));
  });
  return concat(chunks, 2);
}
