/** Choosing between values, element by element. */

import { ArgumentError, DTypeError } from "../../errors.js";
import { broadcastShapes } from "../dim.js";
import { checkNumber } from "../dtype.js";
import { applyOp, defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { unbroadcast } from "./broadcasting.js";
import { and, greaterEqual, lessEqual } from "./compare.js";
import { asOperands, type TensorLike } from "./elementwise.js";
import { map, zip } from "./reference-math.js";

const { definition: whereDefinition } = defineOp({
  name: "where",
  traits: { elementwise: true },
  arity: 3,
  accepts: "mixed",
  dtype: ([, a]) => a.dtype,
  shape([condition, a, b]) {
    if (condition.dtype !== "bool")
      throw new DTypeError(`the condition must be bool, but it is ${condition.dtype}; compare it, e.g. with notEqual(x, 0)`);
    if (a.dtype !== b.dtype)
      throw new DTypeError(`chooses between tensors of one dtype, but ${a.dtype} and ${b.dtype} were given; use \`cast\``);
    return broadcastShapes(condition.shape, a.shape, b.shape);
  },
  vjp: ({ inputs: [condition, a, b], gradients: [dy] }) => [
    undefined,
    unbroadcast(where(condition, dy, 0), a.shape),
    unbroadcast(where(condition, 0, dy), b.shape),
  ],
  onnx: (node, [condition, a, b]) => node("Where", [condition, a, b]),
  reference: ([condition, a, b], _, { outputs }) =>
    zip(outputs[0]?.shape ?? [], [condition, a, b], (chosen, x, y) => (chosen === 0 ? (y as number) : (x as number))),
  examples: (make) => [
    { inputs: [make.bool(["a", "b"]), make.float(["a", "b"]), make.float(["a", "b"])] },
    { inputs: [make.bool(["a", 1]), make.float(["b"]), make.float([])] },
    { inputs: [make.bool(["b"]), make.float(["c", "a", 1]), make.float([1, "b"])] },
    { inputs: [make.bool([]), make.integer(["a"], { high: 9 }), make.integer(["a"], { high: 9 })] },
  ],
});

/**
 * a where `condition` (bool) holds, b elsewhere; all three broadcast. The side that is not chosen gets the gradient 0: where its own
 * derivative is infinite (√x at 0) that still becomes NaN further back, so its operand must be made harmless by a `where` of its own.
 * Throws a DTypeError when the condition is not bool or a and b differ in dtype, a ShapeError when shapes do not broadcast.
 */
export const where = (condition: Tensor, a: TensorLike, b: TensorLike): Tensor =>
  applyOp(whereDefinition, [condition, ...asOperands(a, b)], {})[0] as Tensor;

const clampOp = defineOp<{ readonly min: number; readonly max: number }>({
  name: "clamp",
  traits: { elementwise: true },
  arity: 1,
  accepts: "number",
  shape: ([x]) => x.shape,
  vjp: ({ inputs: [x], gradients: [dy], attributes: { min, max } }) => [
    where(
      max === Number.POSITIVE_INFINITY
        ? greaterEqual(x, min)
        : min === Number.NEGATIVE_INFINITY
          ? lessEqual(x, max)
          : and(greaterEqual(x, min), lessEqual(x, max)),
      dy,
      0,
    ),
  ],
  onnx(node, [x], { inputs, attributes: { min, max } }) {
    const bound = (value: number) => (Number.isFinite(value) ? node.scalar((inputs[0] as Tensor).dtype, value) : undefined);
    return node("Clip", [x, bound(min), bound(max)]);
  },
  reference: ([x], { min, max }) => map(x, (value) => Math.min(Math.max(value, min), max)),
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { min: -0.5, max: 1 } },
    { inputs: [make.float(["a"])], attributes: { min: 0.25, max: Number.POSITIVE_INFINITY } },
    { inputs: [make.integer([], { low: -9, high: 9 })], attributes: { min: Number.NEGATIVE_INFINITY, max: 3 } },
  ],
});

/**
 * x with what is below `min` raised to it and what is above `max` lowered to it; a bound that is left out does not bind. The
 * gradient passes where min ≤ x ≤ max. Throws an ArgumentError when min > max.
 */
export function clamp(x: Tensor, bounds: { readonly min?: number; readonly max?: number }): Tensor {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = bounds;
  if (!(min <= max)) throw new ArgumentError(`clamp: the lower bound ${min} is above the upper bound ${max}.`);
  for (const bound of [min, max]) if (Number.isFinite(bound)) checkNumber(x.dtype, bound, "clamp: a bound");
  return clampOp(x, { min, max });
}
