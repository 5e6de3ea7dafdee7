/** Arithmetic on one or two operands, element by element. */

import { defineBinary, defineUnary } from "./elementwise.js";

/** a + b */
export const add = defineBinary({
  name: "add",
  gradient: ({ dy }) => [dy, dy],
  onnx: "Add",
  value: (a, b) => a + b,
});

/** a − b */
export const sub = defineBinary({
  name: "sub",
  gradient: ({ dy }) => [dy, neg(dy)],
  onnx: "Sub",
  value: (a, b) => a - b,
});

/** a · b */
export const mul = defineBinary({
  name: "mul",
  gradient: ({ a, b, dy }) => [mul(dy, b), mul(dy, a)],
  onnx: "Mul",
  value: (a, b) => a * b,
});

/** a / b; integers are divided towards zero, as in ONNX. */
export const div = defineBinary({
  name: "div",
  gradient: ({ b, y, dy }) => [div(dy, b), neg(div(mul(dy, y), b))],
  onnx: "Div",
  value: (a, b) => a / b,
  ranges: [{}, { low: 0.5, high: 2 }],
});

/** −x */
export const neg = defineUnary({
  name: "neg",
  accepts: "number",
  gradient: (_x, _y, dy) => neg(dy),
  onnx: "Neg",
  value: (x) => -x,
});
