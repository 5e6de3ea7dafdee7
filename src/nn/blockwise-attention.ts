/**
 * Causal attention in blocks of queries, for training: each block meets only the keys that it may see, and the weights
 * are computed again in the backward pass instead of being kept (Dao et al. 2022, "FlashAttention", at the graph's level).
 */

import { barrier } from "../graph/barrier.js";
import { customGradient } from "../graph/custom-gradient.js";
import type { Dim } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, mul, sub } from "../graph/ops/arithmetic.js";
import { and, equal, greaterEqual } from "../graph/ops/compare.js";
import { matmul } from "../graph/ops/matmul.js";
import { range } from "../graph/ops/range.js";
import { sum } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, padAxis, slice } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";

/** Queries a block. Measured: smaller blocks skip more of the triangle, larger ones multiply faster. */
export const BLOCK = 128;
const MASKED = -1e9;

interface Block {
  /** First query and one past the last; keys are 0 up to `end`. */
  readonly start: number;
  readonly end: number;
}

interface BlockwiseOptions {
  readonly scale: number;
  /** int [batch, seq]: the document of each position; a query sees keys of its own alone. */
  readonly segments?: Tensor;
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
  const outputs = blocksOf(q).map((block) => {
    const weights = blockWeights(q, k, block, options);
    return ungroup(matmul(weights, keysOf(v, block)), q);
  });
  return concat(outputs, 2);
}

/** Dao et al. 2022, algorithm 4, with softmax's gradient written as weights · (dWeights − Σ dOut·out). */
function backward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  out: Tensor,
  dOut: Tensor,
  options: BlockwiseOptions,
): readonly Tensor[] {
  const { scale } = options;
  // Behind the barrier the weights cannot be the ones of the forward pass, kept in memory all the while.
  const lateQ = barrier(q, dOut);
  const lateK = barrier(k, dOut);
  const delta = sum(mul(dOut, out), { axes: [3], keepDims: true }); // [batch, heads, seq, 1]
  const dQ: Tensor[] = [];
  const dK: Tensor[] = [];
  const dV: Tensor[] = [];
  for (const block of blocksOf(q)) {
    const weights = blockWeights(lateQ, lateK, block, options); // [batch, kvHeads, group · block, keys]
    const dBlock = group(queriesOf(dOut, block), k);
    dV.push(matmul(weights, dBlock, { transposeA: true }));
    const dWeights = matmul(dBlock, keysOf(v, block), { transposeB: true });
    const dScores = mul(weights, sub(dWeights, group(queriesOf(delta, block), k)));
    dQ.push(ungroup(matmul(dScores, keysOf(lateK, block), { scale }), q));
    dK.push(matmul(dScores, group(queriesOf(lateQ, block), k), { transposeA: true, scale }));
  }
  return [concat(dQ, 2), sumOfPrefixes(dK), sumOfPrefixes(dV)];
}

function blocksOf(q: Tensor): readonly Block[] {
  const seq = q.size(2) as number;
  return Array.from({ length: Math.ceil(seq / BLOCK) }, (_, i) => ({ start: i * BLOCK, end: Math.min(seq, (i + 1) * BLOCK) }));
}

const queriesOf = (x: Tensor, { start, end }: Block): Tensor => slice(x, 2, start, end);
const keysOf = (x: Tensor, { end }: Block): Tensor => slice(x, 2, 0, end);

/** Attention weights of a block's queries over the keys up to its end: [batch, kvHeads, group · block, keys] */
function blockWeights(q: Tensor, k: Tensor, block: Block, { scale, segments }: BlockwiseOptions): Tensor {
  const scores = matmul(group(queriesOf(q, block), k), keysOf(k, block), { transposeB: true, scale });
  const [batch, kvHeads, rows, keys] = scores.shape as unknown as readonly [Dim, Dim, number, Dim];
  const size = block.end - block.start;
  const byQuery = reshape(scores, [batch, kvHeads, rows / size, size, keys]);
  // A bias of floats for each row of the batch would be four times as large as the bools that segments make.
  const masked = segments ? where(visibleInSegment(segments, block), byQuery, MASKED) : add(byQuery, causalBias(block));
  return softmax(reshape(masked, scores.shape));
}

/** Which keys are not after the query and of its document, bool [batch, 1, 1, block, keys]. All layers share it. */
function visibleInSegment(segments: Tensor, { start, end }: Block): Tensor {
  const batch = segments.size(0);
  const ofQueries = reshape(slice(segments, 1, start, end), [batch, 1, 1, end - start, 1]);
  const ofKeys = reshape(slice(segments, 1, 0, end), [batch, 1, 1, 1, end]);
  return and(notAfter({ start, end }), equal(ofQueries, ofKeys));
}

/** 0 where a query of the block may see a key, far below any score where it may not: [block, keys]. All layers share it. */
function causalBias(block: Block): Tensor {
  return where(notAfter(block), constant(0), constant(MASKED));
}

/** Which keys are not after the query: bool [block, keys] */
function notAfter({ start, end }: Block): Tensor {
  return greaterEqual(reshape(range(end - start, "int32", start), [end - start, 1]), range(end, "int32"));
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
