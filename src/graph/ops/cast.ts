/** Changing the element type. */

import { type DType, isFloat, onnxDType } from "../dtype.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";

const castOp = defineOp<{ readonly dtype: DType }>({
  name: "cast",
  arity: 1,
  traits: { elementwise: true },
  dtype: (_, { dtype }) => dtype,
  shape: ([x]) => x.shape,
  vjp: ({ inputs: [x], gradients: [dy], attributes: { dtype } }) => [isFloat(dtype) ? cast(dy, x.dtype) : undefined],
  onnx: (node, [x], { attributes: { dtype } }) => node("Cast", [x], { to: onnxDType(dtype) }),
  // Rounding to the new type is what happens to every result of a reference face.
  reference: ([x]) => x,
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { dtype: "float64" } },
    { inputs: [{ ...make.float(["a"]), differentiable: false }], attributes: { dtype: "float16" } },
    { inputs: [make.float(["a"], { low: -20, high: 20 })], attributes: { dtype: "int64" } },
    { inputs: [make.integer(["a"], { low: -1, high: 2 })], attributes: { dtype: "bool" } },
    { inputs: [make.integer([], { low: -9, high: 9 })], attributes: { dtype: "int32" } },
    { inputs: [make.bool(["a", 1])], attributes: { dtype: "float32" } },
  ],
});

/**
 * x with another element type. Floats become integers by dropping the fraction, anything but 0 becomes true. Gradients flow
 * between floats. An integer that the new type cannot hold becomes something else that depends on the engine.
 */
export const cast = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : castOp(x, { dtype }));
