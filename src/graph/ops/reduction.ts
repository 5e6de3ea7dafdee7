/**
 * How reductions are defined: which axes, what remains of the shape, and what a gradient needs to undo it.
 */

import { normalizeAxis, type Shape } from "../dim.js";
import type { ExampleMaker, OpExample, OperandRange } from "../example.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { forEachIndex, offsetOf, sizeOf, stridesOf } from "./reference-math.js";
import { reshape } from "./shape.js";

export interface ReduceOptions {
  /** Axes to reduce, negative ones from the end. Default: all. */
  readonly axes?: readonly number[];
  /** Keep reduced axes with size 1. Default false. */
  readonly keepDims?: boolean;
}

export interface ReduceAttributes {
  /** Sorted, from the start. None: nothing is reduced. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

export const normalizeReduction = (x: Tensor, { axes, keepDims = false }: ReduceOptions): ReduceAttributes => ({
  axes: axes
    ? [...new Set(axes.map((axis) => normalizeAxis(axis, x.rank)))].sort((a, b) => a - b)
    : x.shape.map((_, axis) => axis),
  keepDims,
});

export function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttributes): Shape {
  return shape.flatMap((dim, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [dim]));
}

/** The result of a reduction of x (or its gradient) with the reduced axes put back as ones, so that it broadcasts with x. */
export const keepReduced = (y: Tensor, x: Tensor, { axes }: ReduceAttributes): Tensor =>
  reshape(y, reducedShape(x.shape, { axes, keepDims: true }));

/** Folds each group of elements that share their kept indices. */
export function fold(
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

export const reduceExamples = (
  make: ExampleMaker,
  empty: boolean,
  range?: OperandRange,
): readonly OpExample<ReduceAttributes>[] =>
  [
    { axes: [1], keepDims: false },
    { axes: [0, 2], keepDims: true },
    { axes: [0, 1, 2], keepDims: false },
    { axes: [], keepDims: false },
  ].map((attributes) => ({ inputs: [make.float(["a", "b", "c"], range)], attributes, empty }));

interface ReductionSpec {
  readonly name: string;
  readonly accepts?: "float" | "number";
  /** dx from the operand, and from the result and its gradient with the reduced axes kept as ones. It may broadcast to x. */
  readonly gradient: (context: {
    readonly x: Tensor;
    readonly y: Tensor;
    readonly dy: Tensor;
    readonly axes: readonly number[];
  }) => Tensor;
  readonly onnx: string;
  readonly value: (x: ReferenceArray, attributes: ReduceAttributes) => ReferenceArray;
  /** Whether the reduction of nothing has a value. Default false. */
  readonly empty?: boolean;
  readonly range?: OperandRange;
}

/** An operator that ONNX has as `Reduce...` with its axes as second input. */
export function defineReduction(spec: ReductionSpec): (x: Tensor, options?: ReduceOptions) => Tensor {
  const op = defineOp<ReduceAttributes>({
    name: spec.name,
    arity: 1,
    accepts: spec.accepts ?? "float",
    shape: ([x], attributes) => reducedShape(x.shape, attributes),
    vjp: ({ inputs: [x], outputs: [y], gradients: [dy], attributes }) => [
      spec.gradient({ x, y: keepReduced(y, x, attributes), dy: keepReduced(dy, x, attributes), axes: attributes.axes }),
    ],
    onnx: (node, [x], { attributes: { axes, keepDims } }) =>
      node(spec.onnx, [x, node.int64s(axes)], { keepdims: Number(keepDims), noop_with_empty_axes: 1 }),
    reference: ([x], attributes) => spec.value(x, attributes),
    examples: (make) => reduceExamples(make, spec.empty ?? false, spec.range),
  });
  return (x, options = {}) => op(x, normalizeReduction(x, options));
}
