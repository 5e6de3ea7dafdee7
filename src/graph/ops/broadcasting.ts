/** Repeating values along axes, and adding them up again: each is the gradient of the other, so both stand here. */

import { ShapeError } from "../../errors.js";
import { broadcastShapes, formatShape, type Shape, sameDim, sameShape } from "../dim.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { defineReduction, fold } from "./reduction.js";
import { generate, reader } from "./reference-math.js";
import { reshape } from "./shape.js";

const expand = defineOp<{ readonly shape: Shape }>({
  name: "expand",
  traits: { moves: "whole" },
  arity: 1,
  shape([x], { shape }) {
    if (!sameShape(broadcastShapes(x.shape, shape), shape))
      throw new ShapeError(`shape ${formatShape(x.shape)} cannot be broadcast to ${formatShape(shape)}`);
    return shape;
  },
  vjp: ({ inputs: [x], gradients: [dy] }) => [unbroadcast(dy, x.shape)],
  onnx: (node, [x], { attributes: { shape } }) => node("Expand", [x, node.dims(shape)]),
  reference: ([x], { shape }) => generate(shape, reader(x)),
  examples: (make) => [
    { inputs: [make.float(["b"])], attributes: { shape: [make.dim("a"), make.dim("b")] } },
    { inputs: [make.float(["a", 1])], attributes: { shape: [make.dim("a"), make.dim("b")] } },
    { inputs: [make.float([])], attributes: { shape: [3, make.dim("a")] } },
  ],
});

/** x repeated along axes of size 1 (and new leading ones) up to `shape`. */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => (sameShape(x.shape, shape) ? x : expand(x, { shape }));

/** Sum of numbers over axes; 0 where there is nothing to sum. */
export const sum = defineReduction({
  name: "sum",
  accepts: "number",
  gradient: ({ x, dy }) => broadcastTo(dy, x.shape),
  onnx: "ReduceSum",
  value: (x, attributes) => fold(x, attributes, 0, (total, value) => total + value),
  empty: true,
});

/** Sums a gradient over the axes along which an operand of `shape` was broadcast. */
export function unbroadcast(gradient: Tensor, shape: Shape): Tensor {
  const missing = gradient.rank - shape.length;
  const axes = gradient.shape.flatMap((dim, axis) => (axis < missing || !sameDim(dim, shape[axis - missing] ?? 1) ? [axis] : []));
  if (axes.length === 0) return gradient;
  const summed = sum(gradient, { axes, keepDims: true });
  return missing === 0 ? summed : reshape(summed, shape);
}
