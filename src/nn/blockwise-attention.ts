/**
 * Attention in blocks: each block of queries meets only the keys that it may see, a stretch of them at a time with an online
 * softmax, and the weights are computed again in the backward pass instead of being kept (Dao et al. 2022, "FlashAttention", at the
 * graph's level).
 */

import { barrier } from "../graph/barrier.js";
import { customGradient } from "../graph/custom-gradient.js";
import { constant } from "../graph/leaves.js";
import { add, div, exp, maximum, mul, neg, sub } from "../graph/ops/arithmetic.js";
import { broadcastTo } from "../graph/ops/broadcasting.js";
import { matmul } from "../graph/ops/matmul.js";
import { max, sum } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { attentionBlocks, type Block, type BlockSizes, type Stretch } from "./attention-blocks.js";
import { BiasGradient } from "./bias-gradient.js";
import { type BlockScores, blockScores, blockSight, keptOfBlock, type Pair } from "./block-scores.js";
import { differsByRow, mayBeBlind } from "./mask.js";
import { SumOfStretches } from "./sum-of-stretches.js";
import type { Attention } from "./whole-attention.js";

/**
 * The same as `wholeAttention`, for concrete sizes.
 *
 * @param blockSizes default: those that were measured to be good
 * @returns [batch, heads, queries, valueDim]
 */
export function blockwiseAttention(attention: Attention, blockSizes?: BlockSizes): Tensor {
  const { q, keys, values, bias, sinkScores } = attention;
  const { sizes, mask } = attention;
  const blocks = attentionBlocks(sizes.queries as number, sizes.keys as number, mask, blockSizes);
  const withOperands = ([query, key, value, ...more]: readonly Tensor[]): Attention => ({
    ...attention,
    ...{ q: query as Tensor, keys: key as Tensor, values: value as Tensor },
    bias: bias && more[0],
    sinkScores: sinkScores && more.at(-1),
  });
  const [output] = customGradient(
    (...operands: readonly Tensor[]) => forward(blocks, withOperands(operands)),
    ({ inputs, outputs, gradients: [dOut] }) => backward(blocks, withOperands(inputs), outputs, dOut as Tensor),
  )(q, keys, values, ...(bias ? [bias] : []), ...(sinkScores ? [sinkScores] : []));
  return output as Tensor;
}

/** Whether rows of keys are cut into stretches, or have a place beside them: then the softmax is made step by step. */
const isOnline = (blocks: readonly Block[], { sinkScores }: Attention): boolean =>
  sinkScores !== undefined || blocks.some(({ keys }) => keys.length > 1);

/** Whether some queries may see no key. A sink takes all the weight of such a query. */
const isBlind = ({ mask, offset, sinkScores }: Attention): boolean => !sinkScores && mayBeBlind(mask, offset);

/**
 * The attention [batch, heads, queries, valueDim]; where the softmax is made step by step, also the highest score of each row and
 * Σ exp(score − highest), [batch, heads, queries, 1]; last, where some queries may see no key, which of them see one,
 * bool [batch or 1, heads or 1, queries, 1].
 */
function forward(blocks: readonly Block[], attention: Attention): readonly Tensor[] {
  const { keys: k, scale } = attention;
  const q = mul(attention.q, scale);
  const online = isOnline(blocks, attention);
  const blind = isBlind(attention);
  const results = blocks.map((block) => {
    const queries = group(part(q, block), k);
    const pairs = block.keys.map((stretch) => {
      const pair = { block, stretch };
      return { pair, ...blockScores(queries, part(k, stretch), pair, attention) };
    });
    const sees = blind ? sightOf(pairs, attention) : undefined;
    const [out, ...rows] = online ? stepByStep(pairs, queries, attention) : [atOnce(pairs, attention)];
    return [seen(out as Tensor, sees, q), ...rows.map((x) => ungroup(x, q)), ...(sees ? [sees] : [])];
  });
  return (results[0] as readonly Tensor[]).map((_, i) =>
    concat(
      results.map((result) => result[i] as Tensor),
      2,
    ),
  );
}

interface ScoredPair extends BlockScores {
  readonly pair: Pair;
}

/** [batch, kvHeads, group · block, valueDim] */
function atOnce([only]: readonly ScoredPair[], attention: Attention): Tensor {
  const { pair, scores } = only as ScoredPair;
  return matmul(keptOfBlock(softmax(scores), pair, attention), part(attention.values, pair.stretch));
}

/** Dao et al. 2022, algorithm 1; a row is divided by its total at the end. */
function stepByStep(pairs: readonly ScoredPair[], queries: Tensor, attention: Attention): readonly Tensor[] {
  const sink = attention.sinkScores && sinkOfRows(attention.sinkScores, queries);
  const { mixed, highest, total } = pairs.reduce<Rows | undefined>(
    (soFar, pair) => withStretch(soFar, pair, attention, sink),
    undefined,
  ) as Rows;
  return [div(mixed, total), highest, total];
}

/** What the keys so far make of the rows of a block, [batch, kvHeads, group · block, valueDim or 1]. */
interface Rows {
  readonly highest: Tensor;
  /** Σ exp(score − highest) */
  readonly total: Tensor;
  /** Σ exp(score − highest) · value */
  readonly mixed: Tensor;
}

/** Online softmax (Milakov and Gimelshein 2018): what is there shrinks when a higher score comes. */
function withStretch(
  soFar: Rows | undefined,
  { pair, scores }: ScoredPair,
  attention: Attention,
  sink: Tensor | undefined,
): Rows {
  const values = part(attention.values, pair.stretch);
  const highestHere = max(scores, alongKeys);
  const before = soFar?.highest ?? sink;
  const highest = before ? maximum(before, highestHere) : highestHere;
  const weights = exp(sub(scores, highest));
  const kept = keptOfBlock(weights, pair, attention);
  const here = { highest, total: sum(weights, alongKeys), mixed: matmul(kept, values) };
  // A sink is a score whose value is 0.
  if (!soFar) return sink ? { ...here, total: add(here.total, exp(sub(sink, highest))) } : here;
  const shrink = exp(sub(soFar.highest, highest));
  return {
    highest,
    total: add(mul(soFar.total, shrink), here.total),
    mixed: add(mul(soFar.mixed, shrink), here.mixed),
  };
}

const alongKeys = { axes: [3], keepDims: true };

/** Dao et al. 2022, algorithm 4, with softmax's gradient written as weights · (dWeights − Σ dOut·out). */
function backward(blocks: readonly Block[], attention: Attention, results: readonly Tensor[], dOut: Tensor): readonly Tensor[] {
  const { q, keys: k, values: v, scale, bias, sinkScores } = attention;
  const online = isOnline(blocks, attention);
  const [out, highest, total] = (online ? results : results.slice(0, 1)) as readonly [Tensor, Tensor?, Tensor?];
  const sees = isBlind(attention) ? results.at(-1) : undefined;
  // Behind the barrier nothing can be taken from the forward pass and kept in memory all the while.
  const late = <T extends Tensor | undefined>(x: T): T => x && (barrier(x, dOut) as T);
  const [lateQ, lateK, lateV] = [q, k, v].map(late) as [Tensor, Tensor, Tensor];
  const lateAttention = {
    ...attention,
    bias: late(bias),
    keep: late(attention.keep),
    mask: attention.mask.visible ? { ...attention.mask, visible: late(attention.mask.visible) } : attention.mask,
  };
  const scaledQ = mul(lateQ, scale);
  // Step by step weights are exp(score − highest) / total; rows are divided where they are narrow.
  const dSeen = sees ? where(sees, dOut, 0) : dOut;
  const dRows = total ? div(dSeen, total) : dSeen;
  const delta = sum(mul(dRows, out), alongKeys);
  const dQ: Tensor[] = [];
  const dK = new SumOfStretches();
  const dV = new SumOfStretches();
  const dBias = bias && new BiasGradient(bias, attention.sizes);
  let before: readonly Tensor[] = [];
  for (const block of blocks) {
    const rowsOf = (x: Tensor) => group(part(x, block), k);
    const [dBlock, deltaBlock, highestBlock] = [rowsOf(dRows), rowsOf(delta), highest && rowsOf(highest)];
    let dQueries: Tensor | undefined;
    for (const stretch of block.keys) {
      const pair = { block, stretch };
      // One pair at a time: each waits for what was made of the one before.
      const queries = barrier(group(part(scaledQ, block), k), ...before);
      const [keys, values] = [part(lateK, stretch), part(lateV, stretch)];
      const { scores, bend } = blockScores(queries, keys, pair, lateAttention);
      const weights = highestBlock ? exp(sub(scores, highestBlock)) : softmax(scores);
      const dWeights = keptOfBlock(matmul(dBlock, values, { transposeB: true }), pair, lateAttention);
      const dCapped = mul(weights, sub(dWeights, deltaBlock));
      dBias?.add(dCapped, pair);
      const dScores = bend ? mul(dCapped, bend) : dCapped;
      const dHere = matmul(dScores, keys);
      dQueries = dQueries ? add(dQueries, dHere) : dHere;
      before = [
        dQueries,
        dK.add(matmul(dScores, queries, { transposeA: true }), stretch),
        dV.add(matmul(keptOfBlock(weights, pair, lateAttention), dBlock, { transposeA: true }), stretch),
      ];
    }
    dQ.push(ungroup(dQueries as Tensor, q));
  }
  const keyCount = attention.sizes.keys as number;
  return [
    mul(concat(dQ, 2), scale),
    dK.result(keyCount),
    dV.result(keyCount),
    ...(dBias ? [dBias.result()] : []),
    ...(sinkScores ? [sinkGradient(sinkScores, highest as Tensor, delta)] : []),
  ];
}

/** What a sink's weight, exp(score − highest) / total, takes from all others. */
function sinkGradient(sinkScores: Tensor, highest: Tensor, delta: Tensor): Tensor {
  const weights = exp(sub(reshape(sinkScores, [1, -1, 1, 1]), highest)); // not divided: delta is
  return neg(sum(mul(weights, delta), { axes: [0, 2, 3] }));
}

/** [heads] as rows of a block, [1, kvHeads, group · block, 1]. */
function sinkOfRows(sinkScores: Tensor, queries: Tensor): Tensor {
  const [, kvHeads, rows] = queries.shape as readonly [number, number, number, number];
  const perKey = (sinkScores.size(0) as number) / kvHeads;
  const spread = broadcastTo(reshape(sinkScores, [1, kvHeads, perKey, 1, 1]), [1, kvHeads, perKey, rows / perKey, 1]);
  return reshape(spread, [1, kvHeads, rows, 1]);
}

/** Rows of a block, [batch, kvHeads, group · block, n], as [batch, heads, block, n] with zeros for queries that see no key. */
function seen(x: Tensor, sees: Tensor | undefined, q: Tensor): Tensor {
  const rows = ungroup(x, q);
  return sees ? where(sees, rows, 0) : rows;
}

/** Which queries of a block see a key, bool [batch or 1, heads or 1, block, 1], of the same sizes for all blocks. */
function sightOf(pairs: readonly ScoredPair[], { q, mask }: Attention): Tensor {
  const [batch, heads] = q.shape as readonly [number, number];
  const { block } = (pairs[0] as ScoredPair).pair;
  const queries = block.end - block.start;
  const sees = blockSight(pairs) ?? constant(true, "bool");
  const perHead = mask.visible?.rank === 5 && mask.visible.shape.slice(1, 3).some((size) => size !== 1);
  const rank5 = sees.rank === 5 ? reshape(sees, [sees.size(0), -1, sees.size(3), 1]) : sees;
  return broadcastTo(rank5, [differsByRow(mask) ? batch : 1, perHead ? heads : 1, queries, 1]);
}

/** Some places of [batch, heads, seq, n]. */
const part = (x: Tensor, { start, end }: Stretch): Tensor => slice(x, 2, start, end);

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
