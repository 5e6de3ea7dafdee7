/** Comparisons and logic, element by element with broadcasting. Results are bool; no gradient flows through them. */

import type { Tensor } from "../tensor.js";
import { type BinarySpec, defineBinary, defineUnary, type TensorLike } from "./elementwise.js";

function defineComparison(
  name: string,
  accepts: "any" | "number",
  onnx: BinarySpec["onnx"],
  value: (a: number, b: number) => boolean,
): (a: TensorLike, b: TensorLike) => Tensor {
  return defineBinary({
    name,
    accepts,
    dtype: "bool",
    gradient: "nonDifferentiable",
    onnx,
    value: (a, b) => Number(value(a, b)),
    // Few different values, so that some are equal.
    operand: (make, sizes) => make.integer(sizes, { low: -1, high: 2 }),
  });
}

/** a = b, for operands of any one dtype. */
export const equal = defineComparison("equal", "any", "Equal", (a, b) => a === b);

/** a ≠ b, for operands of any one dtype. */
export const notEqual = defineComparison(
  "notEqual",
  "any",
  (node, [a, b]) => node("Not", [node("Equal", [a, b])]),
  (a, b) => a !== b,
);

/** a < b */
export const less = defineComparison("less", "number", "Less", (a, b) => a < b);

/** a ≤ b */
export const lessEqual = defineComparison("lessEqual", "number", "LessOrEqual", (a, b) => a <= b);

/** a > b */
export const greater = defineComparison("greater", "number", "Greater", (a, b) => a > b);

/** a ≥ b */
export const greaterEqual = defineComparison("greaterEqual", "number", "GreaterOrEqual", (a, b) => a >= b);

function defineLogic(name: string, onnx: string, value: (a: boolean, b: boolean) => boolean): (a: Tensor, b: Tensor) => Tensor {
  return defineBinary({
    name,
    accepts: "bool",
    gradient: "nonDifferentiable",
    onnx,
    value: (a, b) => Number(value(a !== 0, b !== 0)),
    operand: (make, sizes) => make.bool(sizes),
  });
}

/** Both are true. Both operands are bool. */
export const and = defineLogic("and", "And", (a, b) => a && b);

/** At least one is true. Both operands are bool. */
export const or = defineLogic("or", "Or", (a, b) => a || b);

/** Exactly one is true. Both operands are bool. */
export const xor = defineLogic("xor", "Xor", (a, b) => a !== b);

/** True becomes false and false true. The operand is bool. */
export const not = defineUnary({
  name: "not",
  accepts: "bool",
  gradient: "nonDifferentiable",
  onnx: "Not",
  value: (x) => 1 - x,
  operand: (make, sizes) => make.bool(sizes),
});

/** Whether each element of a float is not a number. */
const nan = defineUnary({
  name: "isNaN",
  dtype: "bool",
  gradient: "nonDifferentiable",
  onnx: "IsNaN",
  value: (x) => Number(Number.isNaN(x)),
});

/** Whether each element of a float is neither infinite nor NaN. */
const finite = defineUnary({
  name: "isFinite",
  dtype: "bool",
  gradient: "nonDifferentiable",
  // A comparison with NaN is false, so this catches both.
  onnx: (node, [x], { inputs }) =>
    node("Less", [node("Abs", [x]), node.scalar((inputs[0] as Tensor).dtype, Number.POSITIVE_INFINITY)]),
  value: (x) => Number(Number.isFinite(x)),
});

/** Whether each element of a float is infinite, with either sign. */
export const isInf = defineUnary({
  name: "isInf",
  dtype: "bool",
  gradient: "nonDifferentiable",
  onnx: (node, [x], { inputs }) =>
    node("Equal", [node("Abs", [x]), node.scalar((inputs[0] as Tensor).dtype, Number.POSITIVE_INFINITY)]),
  value: (x) => Number(Math.abs(x) === Number.POSITIVE_INFINITY),
});

export { finite as isFinite, nan as isNaN };
