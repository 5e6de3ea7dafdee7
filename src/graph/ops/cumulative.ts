/** Running totals. */

import { normalizeAxis } from "../dim.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { forEachIndex, offsetOf, stridesOf } from "./reference-math.js";

export interface CumulativeOptions {
  /** Leave the element itself out of its total: the first total is 0. Default false. */
  readonly exclusive?: boolean;
  /** Add up from the end. Default false. */
  readonly reverse?: boolean;
}

interface CumulativeAttributes {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

const cumulativeSumOp = defineOp<CumulativeAttributes>({
  name: "cumulativeSum",
  arity: 1,
  accepts: "number",
  shape: ([x]) => x.shape,
  // An element is part of the totals after it, so it receives the gradients of those.
  vjp: ({ gradients: [dy], attributes: { axis, exclusive, reverse } }) => [
    cumulativeSum(dy, axis, { exclusive, reverse: !reverse }),
  ],
  onnx: (node, [x], { attributes: { axis, exclusive, reverse } }) =>
    node("CumSum", [x, node.scalar("int64", axis)], { exclusive: Number(exclusive), reverse: Number(reverse) }),
  reference([x], { axis, exclusive, reverse }) {
    const data = new Float64Array(x.data.length);
    const strides = stridesOf(x.shape);
    const size = x.shape[axis] as number;
    forEachIndex(x.shape.with(axis, Math.min(size, 1)), (index) => {
      const origin = offsetOf(index, strides);
      let total = 0;
      for (let i = 0; i < size; i++) {
        const at = origin + (reverse ? size - 1 - i : i) * (strides[axis] as number);
        const before = total;
        total += x.data[at] as number;
        data[at] = exclusive ? before : total;
      }
    });
    return { shape: x.shape, data };
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { axis: 1, exclusive: false, reverse: false } },
    { inputs: [make.float(["a", "b"])], attributes: { axis: 0, exclusive: true, reverse: false } },
    { inputs: [make.float(["a", "b", "c"])], attributes: { axis: 1, exclusive: false, reverse: true } },
    { inputs: [make.float(["a", "b", "c"])], attributes: { axis: 2, exclusive: true, reverse: true } },
    { inputs: [make.integer(["a"], { high: 9 })], attributes: { axis: 0, exclusive: false, reverse: false } },
  ],
});

/** y[i] = x[0] + ... + x[i] along one axis, for numbers of any shape. */
export const cumulativeSum = (x: Tensor, axis: number, { exclusive = false, reverse = false }: CumulativeOptions = {}): Tensor =>
  cumulativeSumOp(x, { axis: normalizeAxis(axis, x.rank), exclusive, reverse });
