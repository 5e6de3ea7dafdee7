/** The scores of a block of queries with a stretch of keys, and what belongs to them. */

import type { Dim } from "../graph/dim.js";
import type { FloatDType } from "../graph/dtype.js";
import { add, div, mul, square, sub, tanh } from "../graph/ops/arithmetic.js";
import { or } from "../graph/ops/compare.js";
import { matmul } from "../graph/ops/matmul.js";
import { reshape } from "../graph/ops/shape.js";
import { slice } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { distanceBias } from "./alibi.js";
import type { Block, Stretch } from "./attention-blocks.js";
import { dropped } from "./dropout.js";
import { countsDistances, differsByRow, type Meeting, masked, sight, visibility } from "./mask.js";
import { partOf } from "./score-operand.js";
import type { Attention } from "./whole-attention.js";

/** Queries and keys that meet. */
export interface Pair {
  readonly block: Block;
  readonly stretch: Stretch;
}

export interface BlockScores {
  /** [batch, kvHeads, group · block, keys] */
  readonly scores: Tensor;
  /** What the soft cap makes of a small change of a score, 1 − tanh², where there is one. */
  readonly bend?: Tensor | undefined;
  /** Which keys the queries see, as `visibility` gives it. */
  readonly visible: Tensor | undefined;
}

/**
 * @param queries of the block, grouped and scaled: they are narrower than the scores
 * @param keys of the stretch
 */
export function blockScores(queries: Tensor, keys: Tensor, { block, stretch }: Pair, attention: Attention): BlockScores {
  const { softCap, slopes, mask, bias, offset } = attention;
  const scores = matmul(queries, keys, { transposeB: true });
  const [batch, kvHeads, rows, width] = scores.shape as unknown as readonly [Dim, number, number, number];
  const size = block.end - block.start;
  const bent = softCap === undefined ? undefined : tanh(div(scores, softCap));
  let byQuery = bent && softCap !== undefined ? mul(bent, softCap) : scores;
  // Scores that one mask fits as they are stay so: engines join its addition with what is before and behind it.
  if (rows > size || differsByRow(mask) || slopes || bias) byQuery = reshape(byQuery, [batch, kvHeads, rows / size, size, width]);
  const meeting = { firstQuery: block.start, queries: size, firstKey: stretch.start, keys: width, offset };
  const later = (block.keys.at(-1) as Stretch).end - stretch.end;
  if (slopes) {
    const how = { later, exact: attention.sinkScores !== undefined, dtype: scores.dtype as FloatDType };
    byQuery = add(byQuery, distanceBias(slopes, kvHeads, mask, meeting, how));
  }
  if (bias) byQuery = add(byQuery, partOf(bias, meeting));
  // The places that blocks inside a window have in common are counted from their first key: all then share one mask.
  const shift = mask.window !== undefined && countsDistances(mask) ? stretch.start : 0;
  const visible = visibility(mask, shifted(meeting, shift));
  return { scores: reshape(masked(byQuery, visible), scores.shape), bend: bent && sub(1, square(bent)), visible };
}

/** The same with all places counted from another one on. */
const shifted = (meeting: Meeting, by: number): Meeting => ({
  ...meeting,
  firstKey: (meeting.firstKey as number) - by,
  offset: (meeting.offset as number) - by,
});

/** Which queries of a block see a key of any of its stretches. */
export function blockSight(pairs: readonly BlockScores[]): Tensor | undefined {
  const parts = pairs.map(({ visible }) => visible && sight(visible));
  // A stretch that hides nothing is seen by all.
  return parts.every((part) => part !== undefined) ? parts.reduce((a, b) => or(a as Tensor, b as Tensor)) : undefined;
}

/** Weights (or their gradients) of a pair as dropout leaves them, [batch, kvHeads, group · block, keys]. */
export function keptOfBlock(weights: Tensor, { block, stretch }: Pair, { keep, dropout }: Attention): Tensor {
  if (!keep) return weights;
  const here = slice(slice(keep, 2, block.start, block.end), 3, stretch.start, stretch.end);
  return dropped(weights, reshape(here, weights.shape), dropout);
}
