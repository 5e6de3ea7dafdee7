/** Attention whose scores exist whole: for short rows, for sizes that are not known while tracing, and where weights are looked at. */

import type { Dim } from "../graph/dim.js";
import type { FloatDType } from "../graph/dtype.js";
import { add } from "../graph/ops/arithmetic.js";
import { broadcastTo } from "../graph/ops/broadcasting.js";
import { matmul } from "../graph/ops/matmul.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { named } from "../graph/trace.js";
import { distanceBias } from "./alibi.js";
import { dropped } from "./dropout.js";
import { type Mask, type Meeting, masked, mayBeBlind, sight, visibility } from "./mask.js";
import type { ScoreSizes } from "./score-operand.js";
import { softCapped } from "./soft-cap.js";

/** One attention with all that belongs to it, whatever form computes it. */
export interface Attention {
  /** [batch, heads, queries, headDim] */
  readonly q: Tensor;
  /** [batch, kvHeads, keys, headDim] */
  readonly keys: Tensor;
  /** [batch, kvHeads, keys, valueDim] */
  readonly values: Tensor;
  readonly sizes: ScoreSizes;
  /** The place of query 0 among the keys. */
  readonly offset: Dim;
  readonly scale: number;
  readonly softCap?: number | undefined;
  readonly slopes?: readonly number[] | undefined;
  /** As `groupedOperand` gives it. */
  readonly bias?: Tensor | undefined;
  /** Its `visible` as `groupedOperand` gives it. */
  readonly mask: Mask;
  /** [heads] */
  readonly sinkScores?: Tensor | undefined;
  /** Which weights dropout keeps, bool [batch, heads, queries, keys]; absent where all stay. */
  readonly keep?: Tensor | undefined;
  readonly dropout: number;
}

/** @returns [batch, heads, queries, valueDim] */
export function wholeAttention(attention: Attention): Tensor {
  const { q, keys: k, values: v, sizes, offset, scale, softCap, slopes, bias, mask, sinkScores, keep } = attention;
  const { batch, kvHeads, group, heads, queries, keys } = sizes;
  const meeting: Meeting = { firstQuery: 0, queries, firstKey: 0, keys, offset };
  const grouped = reshape(q, [batch, kvHeads, group, queries, q.size(3)]);
  const perGroup = (x: Tensor) => reshape(x, [batch, kvHeads, 1, keys, x.size(3)]);
  let scores = matmul(grouped, perGroup(k), { transposeB: true, scale }); // [batch, kvHeads, group, queries, keys]
  if (softCap !== undefined) scores = softCapped(scores, softCap);
  if (slopes) {
    const how = { exact: sinkScores !== undefined, dtype: q.dtype as FloatDType };
    scores = add(scores, distanceBias(slopes, kvHeads as number, mask, meeting, how));
  }
  if (bias) scores = add(scores, bias);
  const visible = visibility(mask, meeting);
  scores = masked(scores, visible);
  const weights = sinkScores ? softmaxBesideSink(scores, sinkScores) : softmax(scores);
  // A sink takes all the weight of a query that sees no key.
  const sees = visible && !sinkScores && mayBeBlind(mask, offset) ? sight(visible) : undefined;
  const seen = (x: Tensor) => (sees ? where(sees, x, 0) : x);
  named("weights", reshape(seen(weights), [batch, heads, queries, keys]));
  const kept = keep ? dropped(weights, reshape(keep, weights.shape), attention.dropout) : weights;
  return reshape(seen(matmul(kept, perGroup(v))), [batch, heads, queries, v.size(3)]);
}

/** softmax over the keys and one more place, whose weight is then left out. */
function softmaxBesideSink(scores: Tensor, sinkScores: Tensor): Tensor {
  const [batch, kvHeads, group, seq, keys] = scores.shape as unknown as readonly [Dim, Dim, Dim, Dim, Dim];
  const sink = broadcastTo(reshape(sinkScores, [1, kvHeads, group, 1, 1]), [batch, kvHeads, group, seq, 1]);
  return slice(softmax(concat([scores, sink], 4)), 4, 0, keys);
}
