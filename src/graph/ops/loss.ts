/** Losses of classification, and so of language models. */

import { ArgumentError, DTypeError, ShapeError } from "../../errors.js";
import { formatShape, sameShape } from "../dim.js";
import { isFloat } from "../dtype.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { add, div, maximum, mul, neg, square, sub } from "./arithmetic.js";
import { cast } from "./cast.js";
import { notEqual } from "./compare.js";
import { scatterAddAlong } from "./indexing.js";
import { mean, sum } from "./reduce.js";
import { generate, reader } from "./reference-math.js";
import { where } from "./select.js";
import { unsqueeze } from "./shape.js";
import { logSumExp, softmax } from "./softmax.js";

const labelLogProbabilityOp = defineOp({
  name: "labelLogProbability",
  arity: 2,
  accepts: "mixed",
  shape([logits, labels]) {
    if (!isFloat(logits.dtype)) throw new DTypeError(`the logits must be floats, but they are ${logits.dtype}; use \`cast\``);
    if (labels.dtype !== "int32" && labels.dtype !== "int64")
      throw new DTypeError(`the labels must be int32 or int64, but they are ${labels.dtype}; use \`cast\``);
    if (logits.rank === 0 || !sameShape(logits.shape.slice(0, -1), labels.shape))
      throw new ShapeError(
        `the labels ${formatShape(labels.shape)} must have the shape of the logits ${formatShape(logits.shape)} without the last axis`,
      );
    return labels.shape;
  },
  // dy · (onehot − softmax). The softmax is computed anew rather than kept: it is as large as the logits, which are there already.
  vjp({ inputs: [logits, labels], gradients: [dy] }) {
    const share = unsqueeze(dy, -1);
    return [scatterAddAlong(mul(softmax(logits), neg(share)), unsqueeze(labels, -1), share, -1), undefined];
  },
  onnx(node, [logits, labels]) {
    const last = node.int64s([-1]);
    const chosen = node("GatherElements", [node("LogSoftmax", [logits], { axis: -1 }), node("Unsqueeze", [labels, last])], {
      axis: -1,
    });
    return node("Squeeze", [chosen, last]);
  },
  reference([logits, labels]) {
    const [logit, label] = [reader(logits), reader(labels)];
    const classes = logits.shape.at(-1) as number;
    return generate(labels.shape, (index) => {
      const row = Array.from({ length: classes }, (_, i) => logit([...index, i]));
      const largest = Math.max(...row);
      return (
        (row[label(index)] as number) - largest - Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0))
      );
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b", "c"]), make.integer(["a", "b"], { high: "c" })], empty: false },
    { inputs: [make.float(["a", 5], { low: 90, high: 110 }), { ...make.integer(["a"], { high: 5 }), dtype: "int32" }] },
    { inputs: [make.float([4]), make.integer([], { high: 4 })] },
  ],
});

/**
 * log softmax(logits) at the label of each position; its gradient is onehot − softmax.
 *
 * logits [..., classes], labels [...] (int32 or int64, from 0 to classes − 1: engines do not check them) → [...]. Throws a ShapeError
 * or a DTypeError when they do not fit.
 */
export const labelLogProbability = (logits: Tensor, labels: Tensor): Tensor => labelLogProbabilityOp(logits, labels);

export interface CrossEntropyOptions {
  /** Positions with this label count for nothing. Default −100. */
  readonly ignoreIndex?: number;
  /** Share of the target that is spread over all classes equally (Szegedy et al. 2016, section 7). Default 0. */
  readonly labelSmoothing?: number;
  /** Coefficient of (log Σ exp(logits))² of each position, which keeps logits from drifting (`zLoss`). Default 0. */
  readonly zLoss?: number;
  /** `mean` over the labels that count (0 when there are none), `sum`, or `none`: one loss for each position. Default `mean`. */
  readonly reduction?: "mean" | "sum" | "none";
}

/**
 * −log softmax(logits)[label] in nats.
 *
 * logits [..., classes], labels [...] (int32 or int64: a class or `ignoreIndex`) → a scalar, or [...] when not reduced. Throws a
 * ShapeError or a DTypeError when they do not fit, an ArgumentError when `labelSmoothing` is outside [0, 1].
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  { ignoreIndex = -100, labelSmoothing = 0, zLoss: zCoefficient = 0, reduction = "mean" }: CrossEntropyOptions = {},
): Tensor {
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new ArgumentError(`crossEntropy: labelSmoothing lies in [0, 1], but ${labelSmoothing} was given.`);
  const counts = notEqual(labels, ignoreIndex);
  let loss = neg(labelLogProbability(logits, where(counts, labels, 0)));
  if (labelSmoothing > 0) {
    // The mean over all classes of −log softmax.
    const uniform = sub(logSumExp(logits, { axes: [-1] }), mean(logits, { axes: [-1] }));
    loss = add(mul(loss, 1 - labelSmoothing), mul(uniform, labelSmoothing));
  }
  if (zCoefficient !== 0) loss = add(loss, mul(square(logSumExp(logits, { axes: [-1] })), zCoefficient));
  // A choice, not a product: where nothing counts not even a NaN does.
  const counted = where(counts, loss, 0);
  if (reduction === "none") return counted;
  if (reduction === "sum") return sum(counted);
  // Narrow floats do not hold every number of labels.
  const wide = loss.dtype === "float64" ? counted : cast(counted, "float32");
  return cast(div(sum(wide), maximum(sum(cast(counts, wide.dtype)), 1)), loss.dtype);
}

/**
 * coefficient · mean((log Σ exp(logits))²) over all positions: keeps the logits' normalizer near 0 (Chowdhery et al. 2022, "PaLM",
 * section 5). logits [..., classes] → a scalar.
 */
export const zLoss = (logits: Tensor, coefficient = 1e-4): Tensor =>
  mul(mean(square(logSumExp(logits, { axes: [-1] }))), coefficient);
