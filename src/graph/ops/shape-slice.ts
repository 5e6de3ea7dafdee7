/** Parts of a tensor, and tensors made of parts: slice, split, concat, pad. Sizes and positions may be symbolic. */

import { ArgumentError, ShapeError } from "../../errors.js";
import {
  addDims,
  ceilDivDims,
  type Dim,
  divideExactly,
  formatShape,
  isStatic,
  mulDims,
  normalizeAxis,
  type Shape,
  sameDim,
  subDims,
} from "../dim.js";
import { checkNumber } from "../dtype.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { generate, offsetOf, stridesOf } from "./reference-math.js";
import { reshape, squeeze, unsqueeze } from "./shape.js";

interface SliceAttributes {
  readonly axis: number;
  readonly start: Dim;
  /** How many elements are taken. */
  readonly size: Dim;
  /** From one to the next, 1 or more. */
  readonly step: number;
}

const sliceOp = defineOp<SliceAttributes>({
  name: "slice",
  traits: { moves: "part" },
  arity: 1,
  shape: ([x], { axis, size }) => x.shape.with(axis, size),
  requires([x], { axis, start, size, step }) {
    const otherwise = `${String(size)} elements from ${String(start)}${step === 1 ? "" : ` in steps of ${step}`} do not lie inside axis ${axis} of ${formatShape(x.shape)}`;
    const behind = subDims(subDims(x.shape[axis] as Dim, 1), addDims(start, mulDims(subDims(size, 1), step)));
    return (size === 0 ? [] : [size, start, behind]).map((nonNegative) => ({ nonNegative, otherwise }));
  },
  vjp: ({ inputs: [x], gradients: [dy], attributes }) => [placeSlice(dy, x.shape, attributes)],
  onnx(node, [x], { attributes: { axis, start, size, step } }) {
    const end = addDims(start, mulDims(size, step));
    return node("Slice", [x, node.dims([start]), node.dims([end]), node.int64s([axis]), node.int64s([step])]);
  },
  reference([x], { axis, start, size, step }) {
    const strides = stridesOf(x.shape);
    const origin = start * (strides[axis] as number);
    strides[axis] = step * (strides[axis] as number);
    return generate(x.shape.with(axis, size), (index) => x.data[origin + offsetOf(index, strides)] as number);
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { axis: 1, start: 0, size: 0, step: 1 } },
    { inputs: [make.float(["a", 7])], attributes: { axis: 1, start: 2, size: 3, step: 1 } },
    { inputs: [make.float([8, "a"])], attributes: { axis: 0, start: 1, size: 3, step: 2 } },
    {
      inputs: [make.float(["a", "b", 2])],
      attributes: { axis: 1, start: 1, size: subDims(make.dim("b"), 1), step: 1 },
      atLeast: 1,
    },
    { inputs: [make.float(["a", "b"])], attributes: { axis: 1, start: 0, size: ceilDivDims(make.dim("b"), 2), step: 2 } },
    { inputs: [make.float([9, "a"])], attributes: { axis: 0, start: 1, size: 3, step: 3 } },
  ],
});

/** Zeros of `shape` with dy where the slice was taken: the gradient of a slice. */
function placeSlice(dy: Tensor, shape: Shape, { axis, start, size, step }: SliceAttributes): Tensor {
  const length = shape[axis] as Dim;
  if (step === 1) return padAxis(dy, axis, start, subDims(length, addDims(start, size)));
  // Each element gets step − 1 zeros behind it; what then reaches past the end is cut off.
  const spread = padAxis(unsqueeze(dy, axis + 1), axis + 1, 0, step - 1);
  const flat = reshape(spread, dy.shape.with(axis, mulDims(size, step)));
  const rest = subDims(length, start);
  return padAxis(slice(padAxis(flat, axis, 0, rest), axis, 0, rest), axis, start, 0);
}

/**
 * Elements `start`, `start + step`, ... before `end` along one axis. Negative numbers count from the end of the axis.
 * Bounds may be symbolic; nothing is clamped, 0 ≤ start ≤ end ≤ size must hold when the program runs.
 */
export function slice(x: Tensor, axis: number, start: Dim, end?: Dim, step = 1): Tensor {
  const at = normalizeAxis(axis, x.rank);
  const length = x.shape[at] as Dim;
  if (!Number.isInteger(step) || step < 1)
    throw new ArgumentError(`slice: the step must be a whole number from 1, but ${step} was given. Backwards: use flip.`);
  const position = (given: Dim): Dim => (isStatic(given) && given < 0 ? addDims(length, given) : given);
  const [from, to] = [position(start), position(end ?? length)];
  if (from === 0 && step === 1 && sameDim(to, length)) return x;
  return sliceOp(x, { axis: at, start: from, size: ceilDivDims(subDims(to, from), step), step });
}

/** The element at `index` of one axis, which disappears. A negative number counts from the end. */
export function select(x: Tensor, axis: number, index: Dim): Tensor {
  const at = normalizeAxis(axis, x.rank);
  const position = isStatic(index) && index < 0 ? addDims(x.shape[at] as Dim, index) : index;
  return squeeze(sliceOp(x, { axis: at, start: position, size: 1, step: 1 }), at);
}

const flipOp = defineOp<{ readonly axes: readonly number[] }>({
  name: "flip",
  traits: { moves: "whole" },
  arity: 1,
  shape: ([x]) => x.shape,
  vjp: ({ gradients: [dy], attributes: { axes } }) => [flip(dy, axes)],
  onnx: (node, [x], { attributes: { axes } }) =>
    node("Slice", [
      x,
      node.int64s(axes.map(() => -1)),
      // Far below −size: ONNX clamps it to the position before the first element.
      node.int64s(axes.map(() => -(2 ** 31))),
      node.int64s(axes),
      node.int64s(axes.map(() => -1)),
    ]),
  reference([x], { axes }) {
    const strides = stridesOf(x.shape);
    return generate(x.shape, (index) => {
      const source = index.map((i, axis) => (axes.includes(axis) ? (x.shape[axis] as number) - 1 - i : i));
      return x.data[offsetOf(source, strides)] as number;
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { axes: [0] } },
    { inputs: [make.float(["a", 3, "b"])], attributes: { axes: [1, 2] } },
  ],
});

/** The elements in reverse order along each of the axes. */
export function flip(x: Tensor, axes: number | readonly number[]): Tensor {
  const reversed = [...new Set([axes].flat().map((axis) => normalizeAxis(axis, x.rank)))];
  return reversed.length === 0 ? x : flipOp(x, { axes: reversed });
}

const concatOp = defineOp<{ readonly axis: number }>({
  name: "concat",
  traits: { moves: "whole" },
  shape(inputs, { axis }) {
    const [first] = inputs;
    for (const input of inputs)
      if (input.rank !== first.rank || !first.shape.every((dim, i) => i === axis || sameDim(dim, input.shape[i] as Dim)))
        throw new ShapeError(
          `${formatShape(first.shape)} and ${formatShape(input.shape)} must be equal except in axis ${axis}, along which they are joined`,
        );
    return first.shape.with(axis, addDims(...inputs.map((input) => input.shape[axis] as Dim)));
  },
  vjp: ({ inputs, gradients: [dy], attributes: { axis } }) =>
    split(
      dy,
      inputs.map((input) => input.shape[axis] as Dim),
      axis,
    ),
  onnx: (node, inputs, { attributes: { axis } }) => node("Concat", inputs, { axis }),
  reference(inputs, { axis }, { outputs: [output] }) {
    const sources = inputs.flatMap((input) =>
      Array.from({ length: input.shape[axis] as number }, (_, position) => ({
        input,
        position,
        strides: stridesOf(input.shape),
      })),
    );
    return generate(output?.shape ?? [], (index) => {
      const source = sources[index[axis] as number] as (typeof sources)[number];
      return source.input.data[offsetOf(index.with(axis, source.position), source.strides)] as number;
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.float(["a", "c"])], attributes: { axis: 1 } },
    { inputs: [make.float(["a", 2]), make.float(["a", 2]), make.float([1, 2])], attributes: { axis: 0 } },
    { inputs: [make.float(["a", "b", 3])], attributes: { axis: 1 } },
    { inputs: [make.integer(["a"], { high: 5 }), make.integer(["b"], { high: 5 })], attributes: { axis: 0 } },
  ],
});

/** The tensors one after the other along an axis; all other sizes must be equal. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors;
  if (!first) throw new ArgumentError("concat: at least one tensor is needed, but the list is empty.");
  return tensors.length === 1 ? first : concatOp(...tensors, { axis: normalizeAxis(axis, first.rank) });
}

/** The tensors, all of one shape, along a new axis of the result. */
export const stack = (tensors: readonly Tensor[], axis = 0): Tensor =>
  concat(
    tensors.map((tensor) => unsqueeze(tensor, axis)),
    axis,
  );

const splitOp = defineOp<{ readonly sizes: readonly Dim[]; readonly axis: number }>({
  name: "split",
  traits: { moves: "part" },
  arity: 1,
  outputs: ({ sizes }) => sizes.length,
  dtype: ([x], { sizes }) => sizes.map(() => x.dtype),
  shape([x], { sizes, axis }) {
    if (!sameDim(addDims(...sizes), x.shape[axis] as Dim))
      throw new ShapeError(
        `the sizes ${sizes.map(String).join(", ")} add up to ${String(addDims(...sizes))}, but axis ${axis} of ${formatShape(x.shape)} has ${String(x.shape[axis])}`,
      );
    return sizes.map((size) => x.shape.with(axis, size));
  },
  vjp: ({ gradients, attributes: { axis } }) => [concat(gradients, axis)],
  onnx: (node, [x], { attributes: { sizes, axis } }) => node.many("Split", [x, node.dims(sizes)], sizes.length, { axis }),
  reference([x], { sizes, axis }) {
    const strides = stridesOf(x.shape);
    let start = 0;
    return sizes.map((size) => {
      const origin = start * (strides[axis] as number);
      start += size;
      return generate(x.shape.with(axis, size), (index) => x.data[origin + offsetOf(index, strides)] as number);
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", 6])], attributes: { sizes: [1, 2, 3], axis: 1 } },
    { inputs: [make.float([4, "a"])], attributes: { sizes: [2, 2], axis: 0 } },
    { inputs: [make.float(["a", "b", 2])], attributes: { sizes: [1, subDims(make.dim("b"), 1)], axis: 1 }, atLeast: 1 },
    { inputs: [make.float(["a", 3])], attributes: { sizes: [0, 3], axis: 1 } },
  ],
});

/** Consecutive parts along an axis: as many equal ones as a number says, or of the given sizes, which must cover the axis. */
export function split(x: Tensor, parts: number | readonly Dim[], axis: number): readonly Tensor[] {
  const at = normalizeAxis(axis, x.rank);
  const sizes = typeof parts === "number" ? equalParts(x, parts, at) : parts;
  if (sizes.length === 0) throw new ArgumentError("split: at least one part is needed.");
  return sizes.length === 1 && sameDim(sizes[0] as Dim, x.shape[at] as Dim) ? [x] : splitOp(x, { sizes, axis: at });
}

function equalParts(x: Tensor, parts: number, axis: number): readonly Dim[] {
  if (!Number.isInteger(parts) || parts < 1)
    throw new ArgumentError(`split: the number of parts must be a whole number from 1, but ${parts} was given.`);
  const size = divideExactly(x.shape[axis] as Dim, parts);
  if (size === undefined)
    throw new ShapeError(`split: axis ${axis} of ${formatShape(x.shape)} does not divide into ${parts} equal parts.`);
  return new Array<Dim>(parts).fill(size);
}

interface PadAttributes {
  /** New elements before and after those of x, for each axis. */
  readonly before: readonly Dim[];
  readonly after: readonly Dim[];
  readonly value: number;
}

const padOp = defineOp<PadAttributes>({
  name: "pad",
  traits: { moves: "whole" },
  arity: 1,
  shape: ([x], { before, after }) => x.shape.map((dim, axis) => addDims(before[axis] as Dim, dim, after[axis] as Dim)),
  requires: (_, { before, after }) =>
    [...before, ...after].map((dim) => ({
      nonNegative: dim,
      otherwise: `a padding cannot be negative, but ${String(dim)} was given; use slice to cut off`,
    })),
  vjp: ({ inputs: [x], gradients: [dy], attributes: { before } }) => [
    x.shape.reduce<Tensor>((part, dim, axis) => slice(part, axis, before[axis] as Dim, addDims(before[axis] as Dim, dim)), dy),
  ],
  onnx: (node, [x], { outputs, attributes: { before, after, value } }) =>
    node("Pad", [x, node.dims([...before, ...after]), node.scalar((outputs[0] as Tensor).dtype, value)], { mode: "constant" }),
  reference([x], { before, value }, { outputs: [output] }) {
    const strides = stridesOf(x.shape);
    return generate(output?.shape ?? [], (index) => {
      const source = index.map((i, axis) => i - (before[axis] as number));
      const inside = source.every((i, axis) => i >= 0 && i < (x.shape[axis] as number));
      return inside ? (x.data[offsetOf(source, strides)] as number) : value;
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { before: [0, 1], after: [0, 2], value: 0 } },
    { inputs: [make.float(["a", 2, "b"])], attributes: { before: [1, 0, 0], after: [0, 0, 3], value: -1.5 } },
    { inputs: [make.float([3, "a"])], attributes: { before: [0, make.dim("b")], after: [make.dim("a"), 0], value: 0 } },
    { inputs: [make.integer(["a"], { high: 5 })], attributes: { before: [1], after: [1], value: 7 } },
  ],
});

/** How many elements come before and after along one axis; one number: the same on both sides. */
export type Padding = Dim | readonly [before: Dim, after: Dim];

/** x with new elements of `value` around it; one padding for each axis. */
export function pad(x: Tensor, paddings: readonly Padding[], value = 0): Tensor {
  if (paddings.length !== x.rank)
    throw new ArgumentError(
      `pad: ${x.describe()} needs ${x.rank} paddings, one for each axis, but ${paddings.length} were given.`,
    );
  checkNumber(x.dtype, value, "pad: the value");
  const pairs = paddings.map((padding) => (Array.isArray(padding) ? padding : [padding, padding]) as readonly [Dim, Dim]);
  if (pairs.every(([before, after]) => before === 0 && after === 0)) return x;
  return padOp(x, { before: pairs.map(([before]) => before), after: pairs.map(([, after]) => after), value });
}

/** The same along one axis alone. */
export function padAxis(x: Tensor, axis: number, before: Dim, after: Dim, value = 0): Tensor {
  const at = normalizeAxis(axis, x.rank);
  return pad(
    x,
    x.shape.map((_, i) => (i === at ? [before, after] : 0)),
    value,
  );
}
