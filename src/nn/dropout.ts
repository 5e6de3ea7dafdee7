/** Dropout (Srivastava et al. 2014), inverted: kept values are scaled up so that evaluation needs no change. */

import { ArgumentError } from "../errors.js";
import { random } from "../graph/leaves.js";
import { mul } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import type { Tensor } from "../graph/tensor.js";
import { isTraining } from "../graph/trace.js";

/**
 * Sets each element to 0 with the given probability and divides the others by the rest, in training only.
 *
 * @param name tells the masks of one module apart; the mask depends on it, on the module's path, the seed and the step
 */
export function dropout(x: Tensor, probability: number, name = "dropout"): Tensor {
  if (!(probability >= 0 && probability < 1))
    throw new ArgumentError(`A dropout probability lies in [0, 1), but ${probability} was given.`);
  if (probability === 0 || !isTraining()) return x;
  const keep = random.bernoulli(x.shape, 1 - probability, name);
  return mul(x, mul(cast(keep, x.dtype), 1 / (1 - probability)));
}
