/** Repeating values: broadcasting to a larger shape, and tensors of one value. */

import { ShapeError } from "../../errors.js";
import { broadcastShapes, formatShape, type Shape, sameShape } from "../dim.js";
import type { DType } from "../dtype.js";
import { constant } from "../leaves.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { unbroadcast } from "./elementwise.js";
import { generate, reader } from "./reference-math.js";

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

/** A tensor filled with one value. */
export const full = (shape: Shape, value: number, dtype: DType = "float32"): Tensor => broadcastTo(constant(value, dtype), shape);

export const zeros = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 0, dtype);
export const ones = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 1, dtype);
export const zerosLike = (x: Tensor): Tensor => full(x.shape, 0, x.dtype);
export const onesLike = (x: Tensor): Tensor => full(x.shape, 1, x.dtype);
