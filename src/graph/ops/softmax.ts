/** Softmax and its logarithms. All subtract the largest element first, so that no exponential overflows. */

import { normalizeAxis } from "../dim.js";
import type { FloatDType } from "../dtype.js";
import type { ExampleMaker, OpExample } from "../example.js";
import type { OnnxValue } from "../onnx-face.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { exp, mul, sub } from "./arithmetic.js";
import { sum } from "./reduce.js";
import {
  fold,
  keepReduced,
  normalizeReduction,
  type ReduceAttributes,
  type ReduceOptions,
  reducedShape,
  reduceExamples,
} from "./reduction.js";
import { map, zip } from "./reference-math.js";

interface AxisAttributes {
  readonly axis: number;
}

const axisExamples = (make: ExampleMaker): readonly OpExample<AxisAttributes>[] => [
  { inputs: [make.float(["a", "b"])], attributes: { axis: 1 } },
  { inputs: [make.float(["a", "b", "c"])], attributes: { axis: 0 } },
  { inputs: [make.float(["a", "b", "c"], { low: 200, high: 210 })], attributes: { axis: 1 } },
];

/** log Σ exp(x) over axes, which stay with size 1. */
function logTotal(x: ReferenceArray, axes: readonly number[]): ReferenceArray {
  const kept = { axes, keepDims: true };
  const largest = map(fold(x, kept, Number.NEGATIVE_INFINITY, Math.max), (value) => (Number.isFinite(value) ? value : 0));
  const shifted = zip(x.shape, [x, largest], (value, shift) => Math.exp((value as number) - (shift as number)));
  const total = fold(shifted, kept, 0, (sum, value) => sum + value);
  return zip(largest.shape, [total, largest], (value, shift) => Math.log(value as number) + (shift as number));
}

const minusLogTotal = (x: ReferenceArray, axis: number): ReferenceArray =>
  zip(x.shape, [x, logTotal(x, [axis])], (value, total) => (value as number) - (total as number));

const softmaxOp = defineOp<AxisAttributes>({
  name: "softmax",
  arity: 1,
  accepts: "float",
  shape: ([x]) => x.shape,
  vjp: ({ outputs: [y], gradients: [dy], attributes: { axis } }) => [
    mul(y, sub(dy, sum(mul(dy, y), { axes: [axis], keepDims: true }))),
  ],
  onnx: (node, [x], { attributes: { axis } }) => node("Softmax", [x], { axis }),
  reference: ([x], { axis }) => map(minusLogTotal(x, axis), Math.exp),
  examples: axisExamples,
});

/** exp(x) / Σ exp(x) along one axis, for floats of any shape. A slice that is −∞ throughout gives NaN. */
export const softmax = (x: Tensor, axis = -1): Tensor => softmaxOp(x, { axis: normalizeAxis(axis, x.rank) });

const logSoftmaxOp = defineOp<AxisAttributes>({
  name: "logSoftmax",
  arity: 1,
  accepts: "float",
  shape: ([x]) => x.shape,
  vjp: ({ outputs: [y], gradients: [dy], attributes: { axis } }) => [
    sub(dy, mul(exp(y), sum(dy, { axes: [axis], keepDims: true }))),
  ],
  onnx: (node, [x], { attributes: { axis } }) => node("LogSoftmax", [x], { axis }),
  reference: ([x], { axis }) => minusLogTotal(x, axis),
  examples: axisExamples,
});

/** x − log Σ exp(x) along one axis, for floats of any shape: log(softmax(x)) without its loss of precision. */
export const logSoftmax = (x: Tensor, axis = -1): Tensor => logSoftmaxOp(x, { axis: normalizeAxis(axis, x.rank) });

const largestFinite: Record<FloatDType, number> = {
  float64: Number.MAX_VALUE,
  float32: (2 - 2 ** -23) * 2 ** 127,
  float16: 65504,
  bfloat16: (2 - 2 ** -7) * 2 ** 127,
};

const logSumExpOp = defineOp<ReduceAttributes>({
  name: "logSumExp",
  arity: 1,
  accepts: "float",
  shape: ([x], attributes) => reducedShape(x.shape, attributes),
  vjp({ inputs: [x], outputs: [y], gradients: [dy], attributes }) {
    // Along one axis the weights are a softmax, which engines have whole and which a cross-entropy of the same logits shares.
    const [axis, ...others] = attributes.axes;
    const weights = axis !== undefined && others.length === 0 ? softmax(x, axis) : exp(sub(x, keepReduced(y, x, attributes)));
    return [mul(weights, keepReduced(dy, x, attributes))];
  },
  // Not ReduceLogSumExp, which some providers compute without subtracting the largest element.
  onnx(node, [x], { inputs, attributes: { axes, keepDims } }) {
    const { dtype } = inputs[0] as Tensor;
    const over = node.int64s(axes);
    const reduce = (type: string, operand: OnnxValue) => node(type, [operand, over], { keepdims: 1, noop_with_empty_axes: 1 });
    // Clipping keeps ∞ − ∞ away: a slice that is −∞ throughout gives −∞.
    const bound = largestFinite[dtype as FloatDType];
    const largest = node("Clip", [reduce("ReduceMax", x), node.scalar(dtype, -bound), node.scalar(dtype, bound)]);
    const total = reduce("ReduceSum", node("Exp", [node("Sub", [x, largest])]));
    const result = node("Add", [node("Log", [total]), largest]);
    return keepDims || axes.length === 0 ? result : node("Squeeze", [result, over]);
  },
  reference: ([x], { axes }, { outputs }) => ({ shape: outputs[0]?.shape ?? [], data: logTotal(x, axes).data }),
  examples: (make) => reduceExamples(make, false),
});

/** log Σ exp(x) over axes, for floats; −∞ where all are. */
export const logSumExp = (x: Tensor, options: ReduceOptions = {}): Tensor => logSumExpOp(x, normalizeReduction(x, options));
