/**
 * Order where there is no data dependency: a value that can only be computed once another exists. Recomputation in the
 * backward pass needs it. An engine runs whatever it can as early as it can, and equal nodes are merged: without a
 * barrier the recomputed values would be made in the forward pass and kept.
 */

import { onnxDType } from "./dtype.js";
import type { OnnxValue } from "./onnx-face.js";
import { defineOp } from "./op.js";
import type { Tensor } from "./tensor.js";

/** Element types that engines compare directly. */
const comparable: readonly string[] = ["float32", "float64", "int32", "int64"];

/** An int64 scalar that is 0 whatever is in the operands, and that no engine knows before it has all of them. */
const lateZero = defineOp({
  name: "lateZero",
  accepts: "mixed",
  dtype: () => "int64",
  shape: () => [],
  vjp: "nonDifferentiable",
  onnx(node, afters, { inputs: tensors }) {
    const [first] = tensors as readonly [Tensor];
    const asTheyAre = comparable.includes(first.dtype) && tensors.every(({ dtype }) => dtype === first.dtype);
    const numbers = afters.map((after, i) => {
      const axes = Array.from({ length: (tensors[i] as Tensor).rank }, (_, axis) => axis);
      const [zeros, ones] = [0, 1].map((each) => node.int64s(axes.map(() => each))) as [OnnxValue, OnnxValue];
      // One element, or none when the operand is empty. Steps are told: else OpenVINO computes them from the starts.
      const part = axes.length === 0 ? after : node("Slice", [after, zeros, ones, node.int64s(axes), ones]);
      return asTheyAre ? part : node("Cast", [part], { to: onnxDType("float32") });
    });
    const number = numbers.reduce((sum, each) => node("Add", [sum, each]));
    // A comparison and not a product with 0: nothing is less than itself, not even a NaN.
    const zero = node("Cast", [node("Less", [number, number])], { to: onnxDType("int64") });
    const axes = Array.from({ length: Math.max(...tensors.map(({ rank }) => rank)) }, (_, axis) => axis);
    return axes.length === 0 ? zero : node("ReduceSum", [zero, node.int64s(axes)], { keepdims: 0 });
  },
  reference: () => ({ shape: [], data: new Float64Array(1) }),
  examples: (make) => [
    { inputs: [make.float(["a", "b"])] },
    { inputs: [make.float([])] },
    { inputs: [make.bool(["a"])] },
    { inputs: [make.integer(["a", 1, "b"], { low: -3, high: 3 })] },
    { inputs: [make.float(["a", "b"]), make.float(["b"]), make.float([])] },
    { inputs: [make.float(["a"]), make.bool([2, "b"])] },
  ],
});

/** x; its size, and with it x, waits for the zero. */
const waitFor = defineOp({
  name: "waitFor",
  traits: { moves: "view" },
  arity: 2,
  accepts: "mixed",
  shape: ([x]) => x.shape,
  vjp: ({ gradients: [dy] }) => [dy, undefined],
  onnx: (node, [x, zero], { inputs: [tensor] }) =>
    node("Reshape", [x, node("Add", [node.dims(tensor?.shape ?? []), zero])], { allowzero: 1 }),
  reference: ([x]) => x,
  examples: (make) => [
    { inputs: [make.float(["a", 3, "b"]), make.integer([], { high: 1 })] },
    { inputs: [make.float([]), make.integer([], { high: 1 })] },
    { inputs: [make.bool(["a"]), make.integer([], { high: 1 })] },
  ],
});

/**
 * The value of x, which cannot be computed before all of `after` exists. Nothing of `after` gets into the result, not even a
 * NaN. Costs no copy of x where an engine reshapes in place.
 */
export function barrier(x: Tensor, ...after: readonly Tensor[]): Tensor {
  return after.length > 0 ? waitFor(x, lateZero(...after)) : x;
}
