/** Reductions: sums, means, products and extremes over some axes (by default over all of them). */

import { isStatic, productOf, type Shape } from "../dim.js";
import type { DType } from "../dtype.js";
import { constant } from "../leaves.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { div, mul, square, sub } from "./arithmetic.js";
import { broadcastTo, sum } from "./broadcasting.js";
import { cast } from "./cast.js";
import { equal, not, notEqual } from "./compare.js";
import { range } from "./range.js";
import {
  defineReduction,
  fold,
  keepReduced,
  normalizeReduction,
  type ReduceAttributes,
  type ReduceOptions,
  reducedShape,
  reduceExamples,
} from "./reduction.js";
import { map } from "./reference-math.js";
import { where } from "./select.js";
import { reshape } from "./shape.js";

export { sum } from "./broadcasting.js";
export type { ReduceOptions } from "./reduction.js";

const sumOfSquaresOp = defineOp<ReduceAttributes>({
  name: "sumOfSquares",
  arity: 1,
  accepts: "float",
  shape: ([x], attributes) => reducedShape(x.shape, attributes),
  vjp: ({ inputs: [x], gradients: [dy], attributes }) => [mul(mul(x, 2), keepReduced(dy, x, attributes))],
  // Without axes ONNX leaves open whether an element is squared.
  onnx: (node, [x], { attributes: { axes, keepDims } }) =>
    axes.length === 0 ? node("Mul", [x, x]) : node("ReduceSumSquare", [x, node.int64s(axes)], { keepdims: Number(keepDims) }),
  reference: ([x], attributes) => fold(x, attributes, 0, (total, value) => total + value * value),
  examples: (make) => reduceExamples(make, true),
});

/** Sum of squares of floats over axes in one pass; 0 where there is nothing. */
export const sumOfSquares = (x: Tensor, options: ReduceOptions = {}): Tensor => sumOfSquaresOp(x, normalizeReduction(x, options));

/** Mean of floats over axes; NaN where there is nothing. */
export const mean = defineReduction({
  name: "mean",
  gradient: ({ x, dy, axes }) =>
    broadcastTo(
      divideByCount(
        dy,
        axes.map((axis) => x.size(axis)),
      ),
      x.shape,
    ),
  onnx: "ReduceMean",
  value(x, attributes) {
    const count = attributes.axes.reduce((product, axis) => product * (x.shape[axis] as number), 1);
    return map(
      fold(x, attributes, 0, (total, value) => total + value),
      (total) => total / count,
    );
  },
});

/** Elements that share the extreme share its gradient equally (as in PyTorch's `amax` and `amin`). */
function extremeGradient({ x, y, dy, axes }: { x: Tensor; y: Tensor; dy: Tensor; axes: readonly number[] }): Tensor {
  const reached = cast(equal(x, y), x.dtype);
  return mul(reached, div(dy, sum(reached, { axes, keepDims: true })));
}

/** The largest number along axes, which must not be empty. Equal ones share the gradient. */
export const max = defineReduction({
  name: "max",
  accepts: "number",
  gradient: extremeGradient,
  onnx: "ReduceMax",
  value: (x, attributes) => fold(x, attributes, Number.NEGATIVE_INFINITY, Math.max),
});

/** The smallest number along axes, which must not be empty. Equal ones share the gradient. */
export const min = defineReduction({
  name: "min",
  accepts: "number",
  gradient: extremeGradient,
  onnx: "ReduceMin",
  value: (x, attributes) => fold(x, attributes, Number.POSITIVE_INFINITY, Math.min),
});

/**
 * Product of numbers over axes; 1 where there is nothing. The gradient is right where elements are 0 too; a gradient of the
 * gradient is not there.
 */
export const prod = defineReduction({
  name: "prod",
  accepts: "number",
  // The product of all others: that of the elements other than 0, divided by x unless x is 0, and 0 when another element is 0.
  gradient({ x, dy, axes }) {
    const zero = equal(x, 0);
    const factors = where(zero, 1, x);
    const isZero = cast(zero, x.dtype);
    const zeros = sum(isZero, { axes, keepDims: true });
    const others = div(mul(dy, prod(factors, { axes, keepDims: true })), factors);
    return where(equal(zeros, isZero), others, 0);
  },
  onnx: "ReduceProd",
  value: (x, attributes) => fold(x, attributes, 1, (product, value) => product * value),
  empty: true,
});

/** Mean squared distance of floats from their mean over axes (the biased estimate: divided by n). */
export function variance(x: Tensor, { axes, keepDims = false }: ReduceOptions = {}): Tensor {
  const over = axes === undefined ? {} : { axes };
  // Squares of float16 numbers above 255 are infinite.
  const wide = x.dtype === "float16" || x.dtype === "bfloat16" ? cast(x, "float32") : x;
  return cast(mean(square(sub(wide, mean(wide, { ...over, keepDims: true }))), { ...over, keepDims }), x.dtype);
}

/** Whether any bool (or number other than 0) along the axes is true; false where there is nothing. */
export const any = (x: Tensor, options: ReduceOptions = {}): Tensor => notEqual(sum(cast(cast(x, "bool"), "int32"), options), 0);

/** Whether all bools (or numbers other than 0) along the axes are true; true where there is nothing. */
export const all = (x: Tensor, options: ReduceOptions = {}): Tensor =>
  equal(sum(cast(not(cast(x, "bool")), "int32"), options), 0);

/** The number of elements of a shape as a scalar, computed while the program runs where it is symbolic. */
export function numberOfElements(shape: Shape, dtype: DType): Tensor {
  const count = productOf(shape);
  return isStatic(count) ? constant(count, dtype) : reshape(range(1, dtype, count), []);
}

/** x divided by the number of elements of a shape; narrow floats in float32, because not every number of elements is one of theirs. */
export function divideByCount(x: Tensor, shape: Shape): Tensor {
  const wide = x.dtype === "float16" || x.dtype === "bfloat16" ? cast(x, "float32") : x;
  return cast(div(wide, numberOfElements(shape, wide.dtype)), x.dtype);
}
