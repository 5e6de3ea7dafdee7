/**
 * Arithmetic and elementary functions of one or two operands, element by element. Two operands broadcast and have one dtype; a plain number takes the
 * dtype of the tensor it meets. Shapes that do not broadcast throw a ShapeError, different dtypes a DTypeError.
 */

import { isFloat } from "../dtype.js";
import { constantScalar } from "../leaves.js";
import { Tensor } from "../tensor.js";
import { equal, greaterEqual, lessEqual } from "./compare.js";
import { defineBinary, defineUnary, type TensorLike } from "./elementwise.js";
import { errorFunction } from "./error-function.js";
import { onesLike } from "./fill.js";
import { where } from "./select.js";

/** a + b */
export const add = defineBinary({
  name: "add",
  gentle: true,
  neutral: { left: 0, right: 0 },
  gradient: ({ dy }) => [dy, dy],
  onnx: "Add",
  value: (a, b) => a + b,
});

/** a − b */
export const sub = defineBinary({
  name: "sub",
  gentle: true,
  neutral: { right: 0 },
  gradient: ({ dy }) => [dy, neg(dy)],
  onnx: "Sub",
  value: (a, b) => a - b,
});

/** a · b */
export const mul = defineBinary({
  name: "mul",
  gentle: true,
  neutral: { left: 1, right: 1 },
  gradient: ({ a, b, dy }) => [mul(dy, b), mul(dy, a)],
  onnx: "Mul",
  value: (a, b) => a * b,
});

/** a / b; integers are divided towards zero, as in ONNX. */
export const div = defineBinary({
  name: "div",
  neutral: { right: 1 },
  gradient: ({ b, y, dy }) => [div(dy, b), neg(div(mul(dy, y), b))],
  onnx: "Div",
  value: (a, b) => a / b,
  ranges: [{}, { low: 0.5, high: 2 }],
  more: (make) => [{ inputs: [make.integer(["a"], { low: -9, high: 9 }), make.integer([], { low: 2, high: 5 })] }],
});

/** What remains of a after division by b, with the sign of b (as in Python): a − ⌊a / b⌋ · b. */
export const mod = defineBinary({
  name: "mod",
  gradient: ({ a, b, dy }) => [dy, neg(mul(dy, floor(div(a, b))))],
  onnx: (node, [a, b], { inputs }) =>
    isFloat((inputs[0] as Tensor).dtype)
      ? node("Sub", [a, node("Mul", [node("Floor", [node("Div", [a, b])]), b])])
      : node("Mod", [a, b], { fmod: 0 }),
  value: (a, b) => a - Math.floor(a / b) * b,
  ranges: [
    { low: -2, high: -1 },
    { low: 2.5, high: 3 },
  ],
  more: (make) => [
    { inputs: [make.integer(["a"], { low: -9, high: 9 }), make.integer([], { low: 3, high: 5 })] },
    { inputs: [make.integer(["a"], { low: -9, high: 9 }), make.integer([], { low: -4, high: -2 })] },
  ],
});

/** The larger of a and b. Where they are equal, a gets the gradient. */
export const maximum = defineBinary({
  name: "maximum",
  gradient({ a, b, dy }) {
    const chosen = greaterEqual(a, b);
    return [where(chosen, dy, 0), where(chosen, 0, dy)];
  },
  onnx: "Max",
  value: Math.max,
});

/** The smaller of a and b. Where they are equal, a gets the gradient. */
export const minimum = defineBinary({
  name: "minimum",
  gradient({ a, b, dy }) {
    const chosen = lessEqual(a, b);
    return [where(chosen, dy, 0), where(chosen, 0, dy)];
  },
  onnx: "Min",
  value: Math.min,
});

const power = defineBinary({
  name: "pow",
  accepts: "float",
  gradient({ a, b, y, dy }) {
    const exponent = constantScalar(b);
    if (exponent !== undefined) return [mul(dy, mul(pow(a, exponent - 1), exponent)), undefined];
    // 0⁰ is flat in a; 0ᵇ is flat in b although log 0 = −∞.
    const da = where(equal(b, 0), 0, mul(b, power(a, sub(b, 1))));
    const db = where(equal(a, 0), 0, mul(y, log(a)));
    return [mul(dy, da), mul(dy, db)];
  },
  onnx: "Pow",
  value: (a, b) => a ** b,
  ranges: [{ low: 0.5, high: 2 }, {}],
});

/** aᵇ for floats. A negative a needs whole b. Small constant exponents become products, roots and reciprocals. */
export function pow(a: TensorLike, b: TensorLike): Tensor {
  const exponent = b instanceof Tensor ? constantScalar(b) : b;
  if (exponent === undefined || !(a instanceof Tensor) || (b instanceof Tensor && b.rank > 0)) return power(a, b);
  switch (exponent) {
    case 0:
      return onesLike(a);
    case 1:
      return a;
    case 2:
      return square(a);
    case 3:
      return mul(square(a), a);
    case 0.5:
      return sqrt(a);
    case -0.5:
      return reciprocal(sqrt(a));
    case -1:
      return reciprocal(a);
    default:
      return power(a, exponent);
  }
}

/** −x */
export const neg = defineUnary({
  name: "neg",
  gentle: true,
  accepts: "number",
  gradient: (_x, _y, dy) => neg(dy),
  onnx: "Neg",
  value: (x) => -x,
});

/** |x|, with gradient 0 at 0. */
export const abs = defineUnary({
  name: "abs",
  accepts: "number",
  gradient: (x, _y, dy) => mul(dy, sign(x)),
  onnx: "Abs",
  value: Math.abs,
});

/** −1, 0 or 1. No gradient flows. */
export const sign = defineUnary({
  name: "sign",
  accepts: "number",
  gradient: "nonDifferentiable",
  onnx: "Sign",
  value: Math.sign,
});

/** x² */
export const square = (x: Tensor): Tensor => mul(x, x);

/** √x for floats; its gradient is infinite at 0. */
export const sqrt = defineUnary({
  name: "sqrt",
  gradient: (_x, y, dy) => div(mul(dy, 0.5), y),
  onnx: "Sqrt",
  value: Math.sqrt,
  range: { low: 0.5, high: 3 },
});

/** 1 / x for floats. */
export const reciprocal = defineUnary({
  name: "reciprocal",
  gradient: (_x, y, dy) => neg(mul(dy, square(y))),
  onnx: "Reciprocal",
  value: (x) => 1 / x,
  range: { low: 0.5, high: 3 },
});

/** The largest whole number not above x. No gradient flows. */
export const floor = defineUnary({ name: "floor", gradient: "nonDifferentiable", onnx: "Floor", value: Math.floor });

/** The smallest whole number not below x. No gradient flows. */
export const ceil = defineUnary({ name: "ceil", gradient: "nonDifferentiable", onnx: "Ceil", value: Math.ceil });

/** The nearest whole number; halves go to the even neighbour (2.5 → 2). No gradient flows. */
export const round = defineUnary({
  name: "round",
  gradient: "nonDifferentiable",
  onnx: "Round",
  value: (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
});

/** eˣ */
export const exp = defineUnary({
  name: "exp",
  gradient: (_x, y, dy) => mul(dy, y),
  onnx: "Exp",
  value: Math.exp,
});

/** The natural logarithm; −∞ at 0, NaN below. */
export const log = defineUnary({
  name: "log",
  gradient: (x, _y, dy) => div(dy, x),
  onnx: "Log",
  value: Math.log,
  range: { low: 0.5, high: 3 },
});

/** The sine of an angle in radians. */
export const sin = defineUnary({
  name: "sin",
  gradient: (x, _y, dy) => mul(dy, cos(x)),
  onnx: "Sin",
  value: Math.sin,
});

/** The cosine of an angle in radians. */
export const cos = defineUnary({
  name: "cos",
  gradient: (x, _y, dy) => neg(mul(dy, sin(x))),
  onnx: "Cos",
  value: Math.cos,
});

/** The hyperbolic tangent. */
export const tanh = defineUnary({
  name: "tanh",
  gentle: true,
  gradient: (_x, y, dy) => mul(dy, sub(1, square(y))),
  onnx: "Tanh",
  value: Math.tanh,
});

/** The error function 2/√π · ∫₀ˣ exp(−t²) dt. */
export const erf = defineUnary({
  name: "erf",
  gradient: (x, _y, dy) => mul(dy, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
  onnx: "Erf",
  value: errorFunction,
});

/** 1 / (1 + e⁻ˣ) */
export const sigmoid = defineUnary({
  name: "sigmoid",
  gentle: true,
  gradient: (_x, y, dy) => mul(dy, mul(y, sub(1, y))),
  onnx: "Sigmoid",
  value: (x) => 1 / (1 + Math.exp(-x)),
});

/** log(1 + eˣ), without overflow for large x. */
export const softplus = defineUnary({
  name: "softplus",
  gradient: (x, _y, dy) => mul(dy, sigmoid(x)),
  // ONNX Runtime has it for float32 alone; float64 is exact enough by its definition.
  onnx: (node, [x], { inputs }) => {
    const { dtype } = inputs[0] as Tensor;
    if (dtype !== "float64") return node("Softplus", [x]);
    const rest = node("Exp", [node("Neg", [node("Abs", [x])])]);
    return node("Add", [node("Max", [x, node.scalar(dtype, 0)]), node("Log", [node("Add", [rest, node.scalar(dtype, 1)])])]);
  },
  value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
});
