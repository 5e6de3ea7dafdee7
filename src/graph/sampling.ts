/** Drawing from distributions that are computed, with noise from the host: the same on every engine and when recomputed. */

import { ArgumentError, ShapeError } from "../errors.js";
import type { Shape } from "./dim.js";
import type { DType } from "./dtype.js";
import { random } from "./leaves.js";
import { add, div, log, maximum, neg } from "./ops/arithmetic.js";
import { cast } from "./ops/cast.js";
import { oneHot } from "./ops/range.js";
import { softmax } from "./ops/softmax.js";
import { argMax } from "./ops/topk.js";
import { straightThrough } from "./straight-through.js";
import type { Tensor } from "./tensor.js";

/** Standard Gumbel noise, −log(−log u): the largest of logits + noise is a draw from their softmax. */
export function gumbel(shape: Shape, name = "gumbel", dtype: DType = "float32"): Tensor {
  // u is a multiple of 2⁻²⁴; half of the smallest step in place of 0.
  const uniform = maximum(random.uniform(shape, name), 2 ** -25);
  return cast(neg(log(neg(log(uniform)))), dtype);
}

/**
 * A class drawn with the probabilities softmax(logits): logits [..., classes] → int64 [...] (Gumbel 1954; Maddison, Tarlow & Minka 2014).
 * No gradient flows.
 */
export function categorical(logits: Tensor, name = "categorical"): Tensor {
  if (logits.rank === 0) throw new ShapeError("categorical: a scalar has no classes.");
  return argMax(add(cast(logits, "float32"), gumbel(logits.shape, name)), -1);
}

export interface GumbelSoftmaxOptions {
  /** Towards 0 the result becomes a choice. Default 1. */
  readonly temperature?: number;
  /** Choose one class, with the gradient of the soft choice. Default false. */
  readonly hard?: boolean;
  readonly name?: string;
}

/**
 * softmax((logits + Gumbel noise) / temperature) over the last axis: a draw from the classes that has a gradient (Jang, Gu & Poole
 * 2017, "Categorical reparameterization with Gumbel-softmax"). logits [..., classes] → [..., classes].
 */
export function gumbelSoftmax(
  logits: Tensor,
  { temperature = 1, hard = false, name = "gumbelSoftmax" }: GumbelSoftmaxOptions = {},
): Tensor {
  if (!(temperature > 0)) throw new ArgumentError(`gumbelSoftmax: the temperature lies above 0, but ${temperature} was given.`);
  if (logits.rank === 0) throw new ShapeError("gumbelSoftmax: a scalar has no classes.");
  const soft = softmax(div(add(logits, gumbel(logits.shape, name, logits.dtype)), temperature));
  return hard ? straightThrough(oneHot(argMax(soft, -1), soft.size(-1), soft.dtype), soft) : soft;
}
