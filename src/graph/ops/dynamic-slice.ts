/** Parts of a tensor whose position is a value of the program. The place is moved inside where the part would reach past an end. */

import { DTypeError, ShapeError } from "../../errors.js";
import { type Dim, formatShape, normalizeAxis, sameShape, subDims } from "../dim.js";
import { onnxDType } from "../dtype.js";
import type { OnnxBuilder, OnnxValue } from "../onnx-face.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { zerosLike } from "./fill.js";
import { generate, offsetOf, stridesOf } from "./reference-math.js";

interface DynamicSliceAttributes {
  readonly axis: number;
  readonly size: Dim;
}

function checkStart(start: Tensor): void {
  if ((start.dtype !== "int32" && start.dtype !== "int64") || start.rank !== 0)
    throw new DTypeError(`the start must be an int32 or int64 scalar, but it is ${start.describe()}`);
}

const outside = (x: { readonly shape: readonly Dim[] }, { axis, size }: DynamicSliceAttributes) =>
  [size, subDims(x.shape[axis] as Dim, size)].map((nonNegative) => ({
    nonNegative,
    otherwise: `axis ${axis} of ${formatShape(x.shape)} has no ${String(size)} elements`,
  }));

/** The start as an int64 vector of one element, at least 0 and at most what leaves room for `size` elements. */
function placed(node: OnnxBuilder, start: OnnxValue, last: Dim): OnnxValue {
  const given = node("Reshape", [node("Cast", [start], { to: onnxDType("int64") }), node.int64s([1])]);
  return node("Min", [node("Max", [given, node.int64s([0])]), node.dims([last])]);
}

const placedAt = (start: ReferenceArray, last: number): number => Math.min(Math.max(start.data[0] as number, 0), last);

const dynamicSliceOp = defineOp<DynamicSliceAttributes>({
  name: "dynamicSlice",
  arity: 2,
  accepts: "mixed",
  shape([x, start], { axis, size }) {
    checkStart(start);
    return x.shape.with(axis, size);
  },
  requires: ([x], attributes) => outside(x, attributes),
  vjp: ({ inputs: [x, start], gradients: [dy], attributes: { axis } }) => [
    dynamicUpdateSlice(zerosLike(x), dy, axis, start),
    undefined,
  ],
  onnx(node, [x, start], { inputs: [tensor], attributes: { axis, size } }) {
    const from = placed(node, start, subDims((tensor as Tensor).shape[axis] as Dim, size));
    const part = node("Slice", [x, from, node("Add", [from, node.dims([size])]), node.int64s([axis])]);
    // An engine that follows shapes sees only that there are some elements.
    return node("Reshape", [part, node.dims((tensor as Tensor).shape.with(axis, size))], { allowzero: 1 });
  },
  reference([x, start], { axis, size }) {
    const strides = stridesOf(x.shape);
    const origin = placedAt(start, (x.shape[axis] as number) - size) * (strides[axis] as number);
    return generate(x.shape.with(axis, size), (index) => x.data[origin + offsetOf(index, strides)] as number);
  },
  examples: (make) => [
    { inputs: [make.float(["a", 7]), make.integer([], { low: -2, high: 9 })], attributes: { axis: 1, size: 3 } },
    {
      inputs: [make.float(["b", "a"]), { ...make.integer([], { high: "b" }), dtype: "int32" }],
      attributes: { axis: 0, size: 1 },
      empty: false,
    },
    {
      inputs: [make.float([2, "a", 2]), make.integer([], { high: 3 })],
      attributes: { axis: 1, size: subDims(make.dim("a"), 1) },
      atLeast: 1,
    },
  ],
});

/**
 * `size` elements of an axis from a start that is a value: x [..., length, ...], start an int32 or int64 scalar → [..., size, ...].
 * A start outside 0 … length − size counts as the nearest inside.
 */
export const dynamicSlice = (x: Tensor, axis: number, start: Tensor, size: Dim): Tensor =>
  dynamicSliceOp(x, start, { axis: normalizeAxis(axis, x.rank), size });

const dynamicUpdateSliceOp = defineOp<{ readonly axis: number }>({
  name: "dynamicUpdateSlice",
  arity: 3,
  accepts: "mixed",
  shape([x, update, start], { axis }) {
    checkStart(start);
    if (update.dtype !== x.dtype)
      throw new DTypeError(`the update must be ${x.dtype} like x, but it is ${update.dtype}; use \`cast\``);
    if (update.rank !== x.rank || !sameShape(update.shape.with(axis, 0), x.shape.with(axis, 0)))
      throw new ShapeError(
        `an update of ${formatShape(update.shape)} does not fit into ${formatShape(x.shape)}: they may differ in axis ${axis} alone`,
      );
    return x.shape;
  },
  requires: ([x, update], { axis }) => outside(x, { axis, size: update.shape[axis] as Dim }),
  vjp: ({ inputs: [, update, start], gradients: [dy], attributes: { axis } }) => [
    dynamicUpdateSlice(dy, zerosLike(update), axis, start),
    dynamicSlice(dy, axis, start, update.shape[axis] as Dim),
    undefined,
  ],
  onnx(node, [x, update, start], { inputs: [tensor, part], attributes: { axis } }) {
    const [length, size] = [(tensor as Tensor).shape[axis] as Dim, (part as Tensor).shape[axis] as Dim];
    const from = placed(node, start, subDims(length, size));
    const piece = (begin: OnnxValue, end: OnnxValue) => node("Slice", [x, begin, end, node.int64s([axis])]);
    const before = piece(node.int64s([0]), from);
    const after = piece(node("Add", [from, node.dims([size])]), node.dims([length]));
    const whole = node("Concat", [before, update, after], { axis });
    return node("Reshape", [whole, node.dims((tensor as Tensor).shape)], { allowzero: 1 });
  },
  reference([x, update, start], { axis }) {
    const size = update.shape[axis] as number;
    const from = placedAt(start, (x.shape[axis] as number) - size);
    const [strides, updateStrides] = [stridesOf(x.shape), stridesOf(update.shape)];
    return generate(x.shape, (index) => {
      const at = (index[axis] as number) - from;
      return at >= 0 && at < size
        ? (update.data[offsetOf(index.with(axis, at), updateStrides)] as number)
        : (x.data[offsetOf(index, strides)] as number);
    });
  },
  examples: (make) => [
    {
      inputs: [make.float(["a", 7]), make.float(["a", 3]), make.integer([], { low: -2, high: 9 })],
      attributes: { axis: 1 },
    },
    {
      inputs: [make.float(["b", "a"]), make.float([1, "a"]), { ...make.integer([], { high: "b" }), dtype: "int32" }],
      attributes: { axis: 0 },
      empty: false,
    },
    {
      inputs: [make.integer([5, "a"], { high: 9 }), make.integer([2, "a"], { high: 9 }), make.integer([], { high: 4 })],
      attributes: { axis: 0 },
    },
  ],
});

/**
 * x with `update` in place of as many elements of an axis from a start that is a value; see `dynamicSlice`. x [..., length, ...],
 * update [..., size, ...] → the shape of x.
 */
export const dynamicUpdateSlice = (x: Tensor, update: Tensor, axis: number, start: Tensor): Tensor =>
  dynamicUpdateSliceOp(x, update, start, { axis: normalizeAxis(axis, x.rank) });
