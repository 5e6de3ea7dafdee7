/** Elementary functions that keep their precision where the obvious formula loses it, and the angle of a point. */

import type { OnnxBuilder, OnnxValue } from "../onnx-face.js";
import type { Tensor } from "../tensor.js";
import { add, div, exp, mul, neg, softplus, square } from "./arithmetic.js";
import { defineBinary, defineUnary } from "./elementwise.js";

/** `near` where |x| < ½, `far` elsewhere. */
const nearZero = (node: OnnxBuilder, x: OnnxValue, half: OnnxValue, near: OnnxValue, far: OnnxValue): OnnxValue =>
  node("Where", [node("Less", [node("Abs", [x]), half]), near, far]);

/** log(1 + x), precise for small x too. */
export const log1p = defineUnary({
  name: "log1p",
  gradient: (x, _y, dy) => div(dy, add(x, 1)),
  onnx(node, [x], { inputs }) {
    const { dtype } = inputs[0] as Tensor;
    const [half, one, two] = [0.5, 1, 2].map((value) => node.scalar(dtype, value)) as [OnnxValue, OnnxValue, OnnxValue];
    const grown = node("Add", [x, one]);
    const far = node("Log", [grown]);
    if (dtype !== "float64") {
      // log(1 + x) = 2·artanh(x / (x + 2))
      const near = node("Mul", [node("Atanh", [node("Div", [x, node("Add", [x, two])])]), two]);
      return nearZero(node, x, half, near, far);
    }
    // ONNX Runtime has no artanh of float64. What rounding has made of 1 + x is divided out again (W. Kahan).
    const rounded = node("Sub", [grown, one]);
    const lost = node("Equal", [rounded, node.scalar(dtype, 0)]);
    const near = node("Div", [node("Mul", [far, x]), node("Where", [lost, one, rounded])]);
    return nearZero(node, x, half, node("Where", [lost, x, near]), far);
  },
  value: Math.log1p,
  range: { low: -0.9, high: 2 },
});

/** eˣ − 1, precise for small x too. */
export const expm1 = defineUnary({
  name: "expm1",
  gradient: (x, _y, dy) => mul(dy, exp(x)),
  // eˣ − 1 = 2t / (1 − t) with t = tanh(x/2)
  onnx(node, [x], { inputs }) {
    const { dtype } = inputs[0] as Tensor;
    const [half, one, two] = [0.5, 1, 2].map((value) => node.scalar(dtype, value)) as [OnnxValue, OnnxValue, OnnxValue];
    const t = node("Tanh", [node("Mul", [x, half])]);
    const near = node("Div", [node("Mul", [t, two]), node("Sub", [one, t])]);
    return nearZero(node, x, half, near, node("Sub", [node("Exp", [x]), one]));
  },
  value: Math.expm1,
});

/** log(sigmoid(x)), without overflow. */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)));

/**
 * The angle of the point (x, y) = (b, a) in radians, from −π to π; 0 for the origin. Signs of zeros count for nothing. For finite
 * floats, which broadcast.
 */
export const atan2 = defineBinary({
  name: "atan2",
  accepts: "float",
  gradient({ a, b, dy }) {
    const scaled = div(dy, add(square(a), square(b)));
    return [mul(scaled, b), neg(mul(scaled, a))];
  },
  // 2·arctan(a / (r + b)) would lose b near −r: the quotient is taken the way round that is at most 1.
  onnx(node, [a, b], { inputs }) {
    const { dtype } = inputs[0] as Tensor;
    const scalar = (value: number) => node.scalar(dtype, value);
    const [sizeA, sizeB] = [node("Abs", [a]), node("Abs", [b])];
    const larger = node("Max", [sizeA, sizeB]);
    const isOrigin = node("Equal", [larger, scalar(0)]);
    const quotient = node("Div", [node("Min", [sizeA, sizeB]), node("Where", [isOrigin, scalar(1), larger])]);
    const octant = node("Atan", [quotient]);
    const quadrant = node("Where", [node("Less", [sizeB, sizeA]), node("Sub", [scalar(Math.PI / 2), octant]), octant]);
    const half = node("Where", [node("Less", [b, scalar(0)]), node("Sub", [scalar(Math.PI), quadrant]), quadrant]);
    return node("Where", [node("Less", [a, scalar(0)]), node("Neg", [half]), half]);
  },
  value: (a, b) => Math.atan2(a + 0, b + 0),
  ranges: [
    { low: -2, high: 2 },
    { low: 0.5, high: 2 },
  ],
  more: (make) => [
    { inputs: [make.float(["a"], { low: -2, high: -1 }), make.float(["a"], { low: -2, high: 0 })] },
    { inputs: [make.float(["a"], { low: 0.1, high: 1 }), make.float([], { low: -2, high: -1 })] },
  ],
});
