/**
 * Order where there is no data dependency: a value that can only be computed once another exists. Recomputation in the
 * backward pass needs it. An engine runs whatever it can as early as it can, and equal nodes are merged: without a
 * barrier the recomputed values would be made in the forward pass and kept.
 */

import { onnxDType } from "./dtype.js";
import { defineOp } from "./op.js";
import { add } from "./ops/arithmetic.js";
import type { Tensor } from "./tensor.js";

/** Element types that engines compare directly. */
const comparable: readonly string[] = ["float32", "float64", "int32", "int64"];

/** An int64 scalar that is 0 whatever is in the operand, and that no engine knows before it has the operand. */
const lateZero = defineOp({
  name: "lateZero",
  arity: 1,
  dtype: () => "int64",
  shape: () => [],
  vjp: "nonDifferentiable",
  onnx(node, [after], { inputs: [tensor] }) {
    const { rank = 0, dtype = "float32" } = tensor ?? {};
    const axes = Array.from({ length: rank }, (_, axis) => axis);
    // One element, or none when the operand is empty.
    const starts = node.int64s(axes.map(() => 0));
    const ends = node.int64s(axes.map(() => 1));
    const part = rank === 0 ? after : node("Slice", [after, starts, ends, node.int64s(axes)]);
    const number = comparable.includes(dtype) ? part : node("Cast", [part], { to: onnxDType("float32") });
    // A comparison and not a product with 0: nothing is less than itself, not even a NaN.
    const zero = node("Cast", [node("Less", [number, number])], { to: onnxDType("int64") });
    return rank === 0 ? zero : node("ReduceSum", [zero, node.int64s(axes)], { keepdims: 0 });
  },
  reference: () => ({ shape: [], data: new Float64Array(1) }),
  examples: (make) => [
    { inputs: [make.float(["a", "b"])] },
    { inputs: [make.float([])] },
    { inputs: [make.bool(["a"])] },
    { inputs: [make.integer(["a", 1, "b"], { low: -3, high: 3 })] },
  ],
});

/** x; its size, and with it x, waits for the zero. */
const waitFor = defineOp({
  name: "waitFor",
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
  const [first, ...others] = after.map((tensor) => lateZero(tensor));
  return first
    ? waitFor(
        x,
        others.reduce((zero, other) => add(zero, other), first),
      )
    : x;
}
