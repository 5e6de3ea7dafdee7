/** Attention with linear biases (Press et al. 2022, "Train short, test long"): scores fall with the distance. */

import { addDims, type Dim } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { mul, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { range } from "../graph/ops/range.js";
import type { Tensor } from "../graph/tensor.js";

/**
 * What each head subtracts from its scores for each position of distance: 2^(−8/n), 2^(−16/n), ... for n heads, a power of two;
 * otherwise those of the power below, and every second one of the power above.
 */
export function alibiSlopes(heads: number): readonly number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const geometric = (count: number) => Array.from({ length: count }, (_, i) => 2 ** ((-8 * (i + 1)) / count));
  const between = geometric(2 * power).filter((_, i) => i % 2 === 0);
  return [...geometric(power), ...between].slice(0, heads);
}

/**
 * slope · (key − last key), [kvHeads, group, 1, keys]. A softmax does not notice what a whole row has in common, so the place of
 * the query need not be known: its distance to a key differs from this by the same number for every key.
 *
 * @param later keys that come after these and count as well
 */
export function alibiBias(slopes: readonly number[], kvHeads: number, keys: Dim, later = 0): Tensor {
  const group = slopes.length / kvHeads;
  const perHead = Array.from({ length: kvHeads }, (_, h) => slopes.slice(h * group, (h + 1) * group).map((slope) => [[slope]]));
  const fromLast = sub(cast(range(keys, "int32"), "float32"), cast(range(1, "int32", addDims(keys, later - 1)), "float32"));
  return mul(constant(perHead), fromLast);
}
