/** Where a tensor is not zero: how many places that are is known only when the program runs. */

import { ShapeError } from "../../errors.js";
import { computedSize } from "../dim.js";
import { onnxDType } from "../dtype.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { forEachIndex } from "./reference-math.js";

/**
 * The indices of the elements that are not zero (or true), in row-major order: x of rank r → int64 [r, count]. Row a holds the
 * indices along axis a, so `gather(x, squeeze(nonZero(mask), 0))` keeps the parts of x that a mask [size] selects.
 *
 * `count` is a size that the operator makes. Each call has a symbol of its own, made when the node is recorded; a rewritten or
 * recomputed copy of the node keeps it with the output's type. The symbol can be used like any other dimension and equals only
 * itself. While the program runs its value is read off this output: the reference engine binds a bare symbol without a size to
 * the size that a result has, and an ONNX model takes the `Shape` of the value. A node that speaks of the symbol depends on this
 * one through its `sizes`: `ones([count])` brings it along.
 */
export const nonZero = defineOp({
  name: "nonZero",
  arity: 1,
  dtype: () => "int64",
  shape([x]) {
    if (x.rank === 0) throw new ShapeError("a scalar has no indices; reshape it to [1]");
    return [x.rank, computedSize("count")];
  },
  vjp: "nonDifferentiable",
  // Engines have it for few element types, bool among them.
  onnx: (node, [x], { inputs }) =>
    node("NonZero", [(inputs[0] as Tensor).dtype === "bool" ? x : node("Cast", [x], { to: onnxDType("bool") })]),
  reference([x]) {
    const found: (readonly number[])[] = [];
    forEachIndex(x.shape, (index, position) => {
      if (x.data[position] !== 0) found.push([...index]);
    });
    const data = Float64Array.from(x.shape.flatMap((_, axis) => found.map((index) => index[axis] as number)));
    return { shape: [x.shape.length, found.length], data };
  },
  examples: (make) => [
    { inputs: [make.integer(["a"], { low: -1, high: 2 })] },
    { inputs: [make.bool(["a", "b", 2])] },
    { inputs: [make.float([3, "a"])] },
  ],
});
