/** Losses of predictions that are numbers or probabilities. Predictions and targets have one shape and dtype, or broadcast. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { formatShape, sameShape } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { abs, add, exp, log, mul, neg, softplus, square, sub } from "./arithmetic.js";
import { equal, lessEqual } from "./compare.js";
import type { TensorLike } from "./elementwise.js";
import { mean, sum } from "./reduce.js";
import { where } from "./select.js";

/** What becomes of the losses of single elements: their mean (default), their sum, or nothing. */
export type LossReduction = "mean" | "sum" | "none";

export interface LossOptions {
  readonly reduction?: LossReduction;
}

function reduced(losses: Tensor, { reduction = "mean" }: LossOptions): Tensor {
  if (reduction === "none") return losses;
  return reduction === "sum" ? sum(losses) : mean(losses);
}

/** One that broadcasts against the other is a mistake more often than a wish. */
function checkSameShape(name: string, a: Tensor, b: Tensor): void {
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(
      `${name}: predictions ${formatShape(a.shape)} and targets ${formatShape(b.shape)} must have one shape; use broadcastTo.`,
    );
}

/** (prediction − target)² */
export function meanSquaredError(predictions: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  checkSameShape("meanSquaredError", predictions, targets);
  return reduced(square(sub(predictions, targets)), options);
}

/**
 * ½d² where |d| = |prediction − target| ≤ delta, delta · (|d| − ½delta) beyond (Huber 1964). Divided by delta it is PyTorch's
 * `smooth_l1_loss`.
 */
export function huberLoss(
  predictions: Tensor,
  targets: Tensor,
  { delta = 1, ...options }: LossOptions & { readonly delta?: number } = {},
): Tensor {
  checkSameShape("huberLoss", predictions, targets);
  if (!(delta > 0)) throw new ArgumentError(`huberLoss: delta lies above 0, but ${delta} was given.`);
  const distance = abs(sub(predictions, targets));
  const far = mul(sub(distance, delta / 2), delta);
  return reduced(where(lessEqual(distance, delta), mul(square(distance), 0.5), far), options);
}

/**
 * −target · log σ(logit) − (1 − target) · log(1 − σ(logit)) in nats, precise for large logits. Targets lie in [0, 1];
 * `positiveWeight` is a factor on the first term, e.g. for rare labels.
 */
export function binaryCrossEntropy(
  logits: Tensor,
  targets: Tensor,
  { positiveWeight, ...options }: LossOptions & { readonly positiveWeight?: TensorLike } = {},
): Tensor {
  checkSameShape("binaryCrossEntropy", logits, targets);
  const positive = positiveWeight === undefined ? targets : mul(targets, positiveWeight);
  return reduced(add(mul(positive, softplus(neg(logits))), mul(sub(1, targets), softplus(logits))), options);
}

export interface DivergenceOptions {
  /** Whether the targets are logarithms too. Default false. */
  readonly logTargets?: boolean;
  /** `batchMean`: the sum divided by the size of the first axis, which is the divergence of one example. Default `batchMean`. */
  readonly reduction?: LossReduction | "batchMean";
}

/**
 * Σ target · (log target − logProbability), the Kullback–Leibler divergence of the predicted distribution from the target. Where a
 * target is 0 its term is 0.
 */
export function klDivergence(
  logProbabilities: Tensor,
  targets: Tensor,
  { logTargets = false, reduction = "batchMean" }: DivergenceOptions = {},
): Tensor {
  checkSameShape("klDivergence", logProbabilities, targets);
  const probabilities = logTargets ? exp(targets) : targets;
  // The logarithm of 0 must not reach the gradient either.
  const never = equal(probabilities, 0);
  const logs = logTargets ? targets : log(where(never, 1, targets));
  const terms = where(never, 0, mul(probabilities, sub(logs, logProbabilities)));
  if (reduction !== "batchMean") return reduced(terms, { reduction });
  return terms.rank === 0 ? terms : sum(mean(terms, { axes: [0] }));
}
