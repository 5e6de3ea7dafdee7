/** Dropout (Srivastava et al. 2014), inverted: kept values are scaled up so that evaluation needs no change. */

import { ArgumentError } from "../errors.js";
import type { Shape } from "../graph/dim.js";
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
  const keep = keptInTraining(x.shape, probability, name);
  return keep ? dropped(x, keep, probability) : x;
}

/** Which elements stay, bool of `shape`; `undefined` where all do. */
export function keptInTraining(shape: Shape, probability: number, name: string): Tensor | undefined {
  if (!(probability >= 0 && probability < 1))
    throw new ArgumentError(`A dropout probability lies in [0, 1), but ${probability} was given.`);
  return probability === 0 || !isTraining() ? undefined : random.bernoulli(shape, 1 - probability, name);
}

/** x where `keep` holds, divided by the share of what stays, and 0 elsewhere. */
export const dropped = (x: Tensor, keep: Tensor, probability: number): Tensor =>
  mul(x, mul(cast(keep, x.dtype), 1 / (1 - probability)));
