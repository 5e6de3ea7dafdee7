/**
 * Causal attention in blocks, for training: each block of queries meets only the keys that it may see, a stretch of them at a
 * time with an online softmax, and the weights are computed again in the backward pass instead of being kept (Dao et al. 2022,
 * "FlashAttention", at the graph's level).
 */

import { barrier } from "../graph/barrier.js";
import { customGradient } from "../graph/custom-gradient.js";
import type { Dim } from "../graph/dim.js";
import { add, div, exp, maximum, mul, square, sub, tanh } from "../graph/ops/arithmetic.js";
import { matmul } from "../graph/ops/matmul.js";
import { max, sum } from "../graph/ops/reduce.js";
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
/** Most keys that a block meets at a time. Measured: shorter stretches take longer to compile, longer ones more memory. */
export const STRETCH = 2048;

/** Places from the first to one before `end`. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** Queries, and the keys that any of them may see. */
export interface Block extends Stretch {
  readonly keys: readonly Stretch[];
}

/** The blocks of a sequence of `seq` places whose queries see no further back than `window` places. */
export function attentionBlocks(seq: number, window = Number.POSITIVE_INFINITY): readonly Block[] {
  const size = BLOCK * Math.ceil(seq / (MOST_BLOCKS * BLOCK));
  const blocks = Array.from({ length: Math.ceil(seq / size) }, (_, i) => ({
    start: i * size,
    end: Math.min(seq, (i + 1) * size),
    firstKey: Math.max(0, Math.floor((i * size - window + 1) / size) * size),
  }));
  // All blocks cut at the same places, or none of them at all: gradients of keys are then summed stretch by stretch.
  const longest = Math.max(...blocks.map(({ firstKey, end }) => end - firstKey));
  const cuts = longest > STRETCH ? Math.ceil(seq / STRETCH) : 1;
  const length = longest > STRETCH ? STRETCH : seq;
  return blocks.map(({ start, end, firstKey }) => ({
    start,
    end,
    keys: Array.from({ length: cuts }, (_, i) => ({
      start: Math.max(firstKey, i * length),
      end: Math.min(end, (i + 1) * length),
    })).filter((stretch) => stretch.start < stretch.end),
  }));
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
    (query, key, value) => forward(query as Tensor, key as Tensor, value as Tensor, options),
    ({ inputs: [query, key, value], outputs, gradients: [dOut] }) =>
      backward(query as Tensor, key as Tensor, value as Tensor, outputs as ForwardResults, dOut as Tensor, options),
  )(q, k, v);
  return output as Tensor;
}

/**
 * The attention [batch, heads, seq, headDim]; where rows of keys are cut into stretches, also the highest score of each row and
 * Σ exp(score − highest), [batch, heads, seq, 1].
 */
type ForwardResults = readonly [out: Tensor, ...highestAndTotal: Tensor[]];

function forward(query: Tensor, k: Tensor, v: Tensor, options: BlockwiseOptions): ForwardResults {
  const q = mul(query, options.scale);
  const blocks = blocksOf(q, options);
  if (blocks.some(({ keys }) => keys.length > 1)) return forwardByStretches(blocks, q, k, v, options);
  const outputs = blocks.map((block) => {
    const [stretch] = block.keys as readonly [Stretch];
    const { scores } = blockScores(group(part(q, block), k), part(k, stretch), block, stretch, options);
    return ungroup(matmul(softmax(scores), part(v, stretch)), q);
  });
  return [concat(outputs, 2)];
}

/** Dao et al. 2022, algorithm 1; a row is divided by its total at the end. `q` is scaled. */
function forwardByStretches(
  blocks: readonly Block[],
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: BlockwiseOptions,
): ForwardResults {
  const results = blocks.map((block) => {
    const queries = group(part(q, block), k);
    const rows = block.keys
      .map((stretch) => ({ stretch, ...blockScores(queries, part(k, stretch), block, stretch, options) }))
      .reduce<Rows | undefined>((soFar, { stretch, scores }) => withStretch(soFar, scores, part(v, stretch)), undefined) as Rows;
    return [div(rows.mixed, rows.total), rows.highest, rows.total].map((x) => ungroup(x, q));
  });
  const whole = (i: number) =>
    concat(
      results.map((result) => result[i] as Tensor),
      2,
    );
  return [whole(0), whole(1), whole(2)];
}

/** What the keys so far make of the rows of a block, [batch, kvHeads, group · block, headDim or 1]. */
interface Rows {
  readonly highest: Tensor;
  /** Σ exp(score − highest) */
  readonly total: Tensor;
  /** Σ exp(score − highest) · value */
  readonly mixed: Tensor;
}

/** Online softmax (Milakov and Gimelshein 2018): what is there shrinks when a higher score comes. */
function withStretch(soFar: Rows | undefined, scores: Tensor, values: Tensor): Rows {
  const highestHere = max(scores, alongKeys);
  const highest = soFar ? maximum(soFar.highest, highestHere) : highestHere;
  const weights = exp(sub(scores, highest));
  const here = { highest, total: sum(weights, alongKeys), mixed: matmul(weights, values) };
  if (!soFar) return here;
  const shrink = exp(sub(soFar.highest, highest));
  return {
    highest,
    total: add(mul(soFar.total, shrink), here.total),
    mixed: add(mul(soFar.mixed, shrink), here.mixed),
  };
}

const alongKeys = { axes: [3], keepDims: true };

/** Dao et al. 2022, algorithm 4, with softmax's gradient written as weights · (dWeights − Σ dOut·out). */
function backward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  [out, highest, total]: ForwardResults,
  dOut: Tensor,
  options: BlockwiseOptions,
): readonly Tensor[] {
  const { scale } = options;
  // Behind the barrier nothing can be taken from the forward pass and kept in memory all the while.
  const [lateQ, lateK, lateV] = [q, k, v].map((x) => barrier(x, dOut)) as [Tensor, Tensor, Tensor];
  const scaledQ = mul(lateQ, scale);
  // By stretches weights are exp(score − highest) / total; rows are divided where they are narrow.
  const dRows = total ? div(dOut, total) : dOut;
  const delta = sum(mul(dRows, out), alongKeys);
  const dQ: Tensor[] = [];
  const dK = new SumOfStretches();
  const dV = new SumOfStretches();
  let before: readonly Tensor[] = [];
  for (const block of blocksOf(q, options)) {
    const rowsOf = (x: Tensor) => group(part(x, block), k);
    const [dBlock, deltaBlock, highestBlock] = [rowsOf(dRows), rowsOf(delta), highest && rowsOf(highest)];
    let dQueries: Tensor | undefined;
    for (const stretch of block.keys) {
      // One pair at a time: each waits for what was made of the one before.
      const queries = barrier(group(part(scaledQ, block), k), ...before);
      const [keys, values] = [part(lateK, stretch), part(lateV, stretch)];
      const { scores, bend } = blockScores(queries, keys, block, stretch, options);
      const weights = highestBlock ? exp(sub(scores, highestBlock)) : softmax(scores);
      const dWeights = matmul(dBlock, values, { transposeB: true });
      const dCapped = mul(weights, sub(dWeights, deltaBlock));
      const dScores = bend ? mul(dCapped, bend) : dCapped;
      const dHere = matmul(dScores, keys);
      dQueries = dQueries ? add(dQueries, dHere) : dHere;
      before = [
        dQueries,
        dK.add(matmul(dScores, queries, { transposeA: true }), stretch),
        dV.add(matmul(weights, dBlock, { transposeA: true }), stretch),
      ];
    }
    dQ.push(ungroup(dQueries as Tensor, q));
  }
  return [mul(concat(dQ, 2), scale), dK.result(), dV.result()];
}

const blocksOf = (q: Tensor, { mask }: BlockwiseOptions): readonly Block[] => attentionBlocks(q.size(2) as number, mask.window);

/** Some places of [batch, heads, seq, n]. */
const part = (x: Tensor, { start, end }: Stretch): Tensor => slice(x, 2, start, end);

interface BlockScores {
  /** Of a block's queries with a stretch of keys: [batch, kvHeads, group · block, keys] */
  readonly scores: Tensor;
  /** What the soft cap makes of a small change of a score, 1 − tanh², where there is one. */
  readonly bend?: Tensor | undefined;
}

/**
 * @param queries of the block, grouped and scaled: they are narrower than the scores
 * @param keys of the stretch
 */
function blockScores(queries: Tensor, keys: Tensor, block: Block, stretch: Stretch, options: BlockwiseOptions): BlockScores {
  const { softCap, slopes, mask } = options;
  const scores = matmul(queries, keys, { transposeB: true });
  const [batch, kvHeads, rows, width] = scores.shape as unknown as readonly [Dim, number, number, number];
  const size = block.end - block.start;
  const bent = softCap === undefined ? undefined : tanh(div(scores, softCap));
  let byQuery = bent && softCap !== undefined ? mul(bent, softCap) : scores;
  // Scores that one mask fits as they are stay so: engines join its addition with what is before and behind it.
  if (rows > size || mask.keys || mask.segments || slopes) byQuery = reshape(byQuery, [batch, kvHeads, rows / size, size, width]);
  if (slopes) byQuery = add(byQuery, alibiBias(slopes, kvHeads, width, block.end - stretch.end));
  // The places that blocks inside a window have in common are counted from their first key: all then share one mask.
  const shift = mask.window !== undefined && !mask.keys && !mask.segments ? stretch.start : 0;
  const meeting = { firstQuery: block.start - shift, queries: size, firstKey: stretch.start - shift, keys: width };
  return { scores: reshape(masked(byQuery, mask, meeting), scores.shape), bend: bent && sub(1, square(bent)) };
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

/** A sum of [batch, heads, n, d] of stretches of the places, which begin and end no earlier than those that they overlap with. */
class SumOfStretches {
  private readonly pieces: (Stretch & { readonly sum: Tensor })[] = [];

  /** @returns the sum of all there is so far in the stretch */
  add(x: Tensor, { start, end }: Stretch): Tensor {
    const overlap = this.pieces.findIndex((piece) => piece.start <= start && start < piece.end);
    if (overlap < 0) {
      this.pieces.push({ start, end, sum: x });
      return x;
    }
    const before = this.pieces[overlap] as Stretch & { readonly sum: Tensor };
    // No later stretch comes back to what lies in front of this one.
    const done = start - before.start;
    const common = done > 0 ? slice(before.sum, 2, done, before.end - before.start) : before.sum;
    const total = add(padAxis(common, 2, 0, end - before.end), x);
    const front = done > 0 ? [{ start: before.start, end: start, sum: slice(before.sum, 2, 0, done) }] : [];
    this.pieces.splice(overlap, 1, ...front, { start, end, sum: total });
    return total;
  }

  result(): Tensor {
    return concat(
      this.pieces.toSorted((a, b) => a.start - b.start).map(({ sum }) => sum),
      2,
    );
  }
}
