/** Operators that move elements without computing: reshape, transpose, ... */

import { ShapeError } from "../../errors.js";
import { type Dim, divideExactly, formatShape, productOf, type Shape, sameDim, sameShape } from "../dim.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";

const reshapeOp = defineOp<{ readonly shape: Shape }>({
  name: "reshape",
  arity: 1,
  shape([x], { shape }) {
    if (!sameDim(productOf(x.shape), productOf(shape)))
      throw new ShapeError(
        `${formatShape(x.shape)} has ${String(productOf(x.shape))} elements, but ${formatShape(shape)} has ${String(productOf(shape))}`,
      );
    return shape;
  },
  vjp: ({ inputs: [x], gradients: [dy] }) => [reshape(dy, x.shape)],
  onnx: (node, [x], { attributes: { shape } }) => node("Reshape", [x, node.dims(shape)], { allowzero: 1 }),
  reference: ([x], { shape }) => ({ shape, data: x.data }),
  examples: (make) => [
    { inputs: [make.float(["a", "b", 6])], attributes: { shape: [make.dim("a"), make.dim("b"), 2, 3] } },
    { inputs: [make.float(["a", 1, "b"])], attributes: { shape: [make.dim("b"), make.dim("a")] } },
    { inputs: [make.float([1])], attributes: { shape: [] } },
  ],
});

/** The same elements in row-major order under another shape. One size may be −1: whatever remains. */
export function reshape(x: Tensor, shape: readonly Dim[]): Tensor {
  const target = resolveShape(x.shape, shape);
  return sameShape(x.shape, target) ? x : reshapeOp(x, { shape: target });
}

function resolveShape(from: Shape, shape: Shape): Shape {
  const open = shape.indexOf(-1);
  if (open < 0) return shape;
  const rest = shape.filter((_, i) => i !== open);
  const size = divideExactly(productOf(from), productOf(rest));
  if (size === undefined || rest.includes(-1))
    throw new ShapeError(
      `reshape: ${formatShape(from)} cannot become ${formatShape(shape)}: the other sizes do not divide the number of elements.`,
    );
  return shape.with(open, size);
}
