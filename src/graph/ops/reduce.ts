/** Reductions: sums, means, extremes over some axes. */

import { normalizeAxis, type Shape } from "../dim.js";
import type { ExampleMaker, OpExample } from "../example.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { broadcastTo } from "./fill.js";
import { forEachIndex, offsetOf, sizeOf, stridesOf } from "./reference-math.js";
import { reshape } from "./shape.js";

export interface ReduceOptions {
  /** Axes to reduce, negative ones from the end. Default: all. */
  readonly axes?: readonly number[];
  /** Keep reduced axes with size 1. Default false. */
  readonly keepDims?: boolean;
}

interface ReduceAttributes {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttributes): Shape {
  return shape.flatMap((dim, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [dim]));
}

const normalized = (x: Tensor, { axes, keepDims = false }: ReduceOptions): ReduceAttributes => ({
  axes: axes
    ? [...new Set(axes.map((axis) => normalizeAxis(axis, x.rank)))].sort((a, b) => a - b)
    : x.shape.map((_, axis) => axis),
  keepDims,
});

/** The gradient of a reduction (or its result) spread over the axes that were reduced. */
const spread = (y: Tensor, x: Tensor, { axes }: ReduceAttributes): Tensor =>
  broadcastTo(reshape(y, reducedShape(x.shape, { axes, keepDims: true })), x.shape);

/** Folds each group of elements that share their kept indices. */
function fold(
  { shape, data }: ReferenceArray,
  { axes, keepDims }: ReduceAttributes,
  start: number,
  step: (total: number, value: number) => number,
): ReferenceArray {
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const strides = stridesOf(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  const totals = new Float64Array(sizeOf(kept)).fill(start);
  forEachIndex(shape, (index, position) => {
    const at = offsetOf(index, strides);
    totals[at] = step(totals[at] as number, data[position] as number);
  });
  return { shape: keepDims ? kept : shape.filter((_, axis) => !axes.includes(axis)), data: totals };
}

const reduceExamples = (make: ExampleMaker, empty: boolean): readonly OpExample<ReduceAttributes>[] =>
  [
    { axes: [1], keepDims: false },
    { axes: [0, 2], keepDims: true },
    { axes: [0, 1, 2], keepDims: false },
    { axes: [], keepDims: false },
  ].map((attributes) => ({ inputs: [make.float(["a", "b", "c"])], attributes, empty }));

const sumOp = defineOp<ReduceAttributes>({
  name: "sum",
  arity: 1,
  accepts: "number",
  shape: ([x], attributes) => reducedShape(x.shape, attributes),
  vjp: ({ inputs: [x], gradients: [dy], attributes }) => [spread(dy, x, attributes)],
  onnx: (node, [x], { attributes: { axes, keepDims } }) =>
    node("ReduceSum", [x, node.int64s(axes)], { keepdims: Number(keepDims), noop_with_empty_axes: 1 }),
  reference: ([x], attributes) => fold(x, attributes, 0, (total, value) => total + value),
  examples: (make) => reduceExamples(make, true),
});

/** Sum over axes; 0 where there is nothing to sum. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => sumOp(x, normalized(x, options));
