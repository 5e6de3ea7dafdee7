/** Running totals, products and extremes. */

import { type Dim, isStatic, normalizeAxis } from "../dim.js";
import { type DType, integerRange, isInteger } from "../dtype.js";
import { defineOp } from "../op.js";
import { scan } from "../scan.js";
import type { Tensor } from "../tensor.js";
import { maximum, minimum, mul } from "./arithmetic.js";
import { full } from "./fill.js";
import { forEachIndex, offsetOf, stridesOf } from "./reference-math.js";
import { moveAxis } from "./shape.js";
import { concat, slice } from "./shape-slice.js";

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

interface Running {
  /** Associative; of an element and what came before it. */
  readonly combine: (element: Tensor, before: Tensor) => Tensor;
  /** Changes nothing. */
  readonly neutral: (dtype: DType) => number;
}

/**
 * Log₂(size) passes over the whole tensor where the size is known (Hillis & Steele 1986, "Data parallel algorithms"), a loop where it
 * is not.
 */
function running(x: Tensor, axis: number, reverse: boolean, { combine, neutral }: Running): Tensor {
  const at = normalizeAxis(axis, x.rank);
  const size = x.shape[at] as Dim;
  if (!isStatic(size)) {
    const sequence = moveAxis(x, at, 0);
    const { outputs } = scan(
      ([before], [element]) => {
        const next = combine(element, before);
        return { carry: [next], outputs: [next] };
      },
      { carry: [full(sequence.shape.slice(1), neutral(x.dtype), x.dtype)], sequences: [sequence], reverse },
    );
    return moveAxis(outputs[0], 0, at);
  }
  let result = x;
  for (let distance = 1; distance < size; distance *= 2) {
    const [first, last] = [slice(result, at, 0, size - distance), slice(result, at, distance)];
    result = reverse
      ? concat([combine(first, last), slice(result, at, size - distance)], at)
      : concat([slice(result, at, 0, distance), combine(last, first)], at);
  }
  return result;
}

type RunningOptions = Pick<CumulativeOptions, "reverse">;

/**
 * y[i] = max(x[0], ..., x[i]) along one axis, for numbers of any shape. Of equal elements the one that came last gets the gradient, as in
 * PyTorch's `cummax`.
 */
export const cumulativeMax = (x: Tensor, axis: number, { reverse = false }: RunningOptions = {}): Tensor =>
  running(x, axis, reverse, {
    combine: maximum,
    neutral: (dtype) => (isInteger(dtype) ? integerRange(dtype)[0] : Number.NEGATIVE_INFINITY),
  });

/** y[i] = min(x[0], ..., x[i]) along one axis; see `cumulativeMax`. */
export const cumulativeMin = (x: Tensor, axis: number, { reverse = false }: RunningOptions = {}): Tensor =>
  running(x, axis, reverse, {
    combine: minimum,
    neutral: (dtype) => (isInteger(dtype) ? integerRange(dtype)[1] : Number.POSITIVE_INFINITY),
  });

/** y[i] = x[0] · ... · x[i] along one axis, for numbers of any shape. Gradients are right where elements are 0 too. */
export const cumulativeProduct = (x: Tensor, axis: number, { reverse = false }: RunningOptions = {}): Tensor =>
  running(x, axis, reverse, { combine: mul, neutral: () => 1 });
