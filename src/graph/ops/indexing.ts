/**
 * Elements chosen by computed positions, and values added at them. Indices are int32 or int64 and count from 0; negative or
 * too large ones are not allowed (the engines disagree on what they mean, and none can check them cheaply).
 */

import { ShapeError } from "../../errors.js";
import { type Dim, normalizeAxis, productOf, type Shape, sameShape } from "../dim.js";
import { onnxDType } from "../dtype.js";
import type { ExampleMaker, ExampleOperand, ExampleSize } from "../example.js";
import type { OnnxValue } from "../onnx-face.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { zerosLike } from "./fill.js";
import { forEachIndex, generate, offsetOf, sizeOf, stridesOf } from "./reference-math.js";
import { checkAlong, checkIndices, checkUpdates, inWide } from "./scatter-parts.js";
import { moveAxis } from "./shape.js";

const int32Indices = (make: ExampleMaker, sizes: readonly ExampleSize[], high: ExampleSize): ExampleOperand => ({
  ...make.integer(sizes, { high }),
  dtype: "int32",
});

const gatherOp = defineOp<{ readonly axis: number }>({
  name: "gather",
  arity: 2,
  accepts: "mixed",
  shape([x, indices], { axis }) {
    checkIndices(indices);
    return x.shape.toSpliced(axis, 1, ...indices.shape);
  },
  vjp: ({ inputs: [x, indices], gradients: [dy], attributes: { axis } }) => [scatterGathered(x, indices, dy, axis), undefined],
  onnx: (node, [x, indices], { attributes: { axis } }) => node("Gather", [x, indices], { axis }),
  reference([x, indices], { axis }) {
    const rank = indices.shape.length;
    const [strides, indexStrides] = [stridesOf(x.shape), stridesOf(indices.shape)];
    return generate(x.shape.toSpliced(axis, 1, ...indices.shape), (index) => {
      const chosen = indices.data[offsetOf(index.slice(axis, axis + rank), indexStrides)] as number;
      return x.data[offsetOf(index.toSpliced(axis, rank, chosen), strides)] as number;
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.integer(["c"], { high: "a" })], attributes: { axis: 0 }, empty: false },
    { inputs: [make.float([5, "a"]), make.integer(["b", "c"], { high: 5 })], attributes: { axis: 0 } },
    { inputs: [make.float(["a", "b", 3]), make.integer(["c", 2], { high: "b" })], attributes: { axis: 1 }, empty: false },
    { inputs: [make.float(["a", 4]), int32Indices(make, ["b"], 4)], attributes: { axis: 1 } },
    { inputs: [make.float([3, "a"]), make.integer([], { high: 3 })], attributes: { axis: 0 } },
  ],
});

/** The gradient of a gather: each gathered part is added back where it came from. */
function scatterGathered(x: Tensor, indices: Tensor, dy: Tensor, axis: number): Tensor {
  let updates = dy;
  for (let i = 0; i < indices.rank; i++) updates = moveAxis(updates, axis + i, i);
  return scatterAdd(zerosLike(x), indices, updates, axis);
}

/**
 * x [...before, size, ...after] read at `indices` along `axis` → [...before, ...indices.shape, ...after]. With axis 0 and a
 * table [vocabulary, width] this is an embedding.
 */
export const gather = (x: Tensor, indices: Tensor, axis = 0): Tensor =>
  gatherOp(x, indices, { axis: normalizeAxis(axis, x.rank) });

const scatterAddOp = defineOp({
  name: "scatterAdd",
  arity: 3,
  accepts: "mixed",
  shape([x, indices, updates]) {
    checkIndices(indices);
    if (x.rank === 0) throw new ShapeError("a scalar has no axis to add along");
    checkUpdates(x, updates, [...indices.shape, ...x.shape.slice(1)]);
    return x.shape;
  },
  vjp: ({ inputs: [, indices], gradients: [dy] }) => [dy, undefined, gather(dy, indices)],
  // Not ScatterND: ONNX Runtime adds to one row from several threads at once and loses updates (half of 200,000 to a single row).
  onnx(node, [x, indices, updates], { inputs }) {
    const [target, { shape: indexShape }] = inputs as readonly [Tensor, Tensor];
    const [count, row] = [productOf(indexShape), productOf(target.shape.slice(1))];
    if (count === 0 || row === 0) return x;
    const reshaped = (value: OnnxValue, from: Shape, to: Shape) =>
      sameShape(from, to) ? value : node("Reshape", [value, node.dims(to)], { allowzero: 1 });
    const rows = reshaped(node("Cast", [indices], { to: onnxDType("int32") }), indexShape, [count, 1]);
    const matrix: Shape = [target.shape[0] as Dim, row];
    const places = node("Expand", [rows, node.dims([count, row])]);
    const flat = [
      reshaped(x, target.shape, matrix),
      reshaped(updates, [...indexShape, ...target.shape.slice(1)], [count, row]),
    ] as const;
    const sums = inWide(node, target.dtype, flat, (to, added) =>
      node("ScatterElements", [to, places, added], { axis: 0, reduction: "add" }),
    );
    return reshaped(sums, matrix, target.shape);
  },
  reference([x, indices, updates]) {
    const data = x.data.slice();
    const row = sizeOf(x.shape.slice(1));
    for (const [i, chosen] of indices.data.entries())
      for (let k = 0; k < row; k++)
        data[chosen * row + k] = (data[chosen * row + k] as number) + (updates.data[i * row + k] as number);
    return { shape: x.shape, data };
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.integer(["c"], { high: "a" }), make.float(["c", "b"])], empty: false },
    { inputs: [make.float([2, "b"]), make.integer(["a", 3], { high: 2 }), make.float(["a", 3, "b"])] },
    { inputs: [make.float([4]), int32Indices(make, ["a"], 4), make.float(["a"])] },
    { inputs: [make.float([4, "b"]), int32Indices(make, ["a", 2], 4), make.float(["a", 2, "b"])] },
    { inputs: [make.float([3, "a"]), make.integer([], { high: 3 }), make.float(["a"])] },
  ],
});

/**
 * x with `updates` added to the parts that `indices` name along `axis`; repeated indices add up. For axis 0:
 * `result[indices[i], ...] += updates[i, ...]`, updates [...indices.shape, ...x.shape without the axis].
 */
export function scatterAdd(x: Tensor, indices: Tensor, updates: Tensor, axis = 0): Tensor {
  const at = normalizeAxis(axis, x.rank);
  return moveAxis(scatterAddOp(moveAxis(x, at, 0), indices, updates), 0, at);
}

const takeAlongOp = defineOp<{ readonly axis: number }>({
  name: "takeAlong",
  arity: 2,
  accepts: "mixed",
  shape([x, indices], { axis }) {
    checkAlong(x, indices, axis);
    return indices.shape;
  },
  vjp: ({ inputs: [x, indices], gradients: [dy], attributes: { axis } }) => [
    scatterAddAlong(zerosLike(x), indices, dy, axis),
    undefined,
  ],
  onnx: (node, [x, indices], { attributes: { axis } }) => node("GatherElements", [x, indices], { axis }),
  reference([x, indices], { axis }) {
    const strides = stridesOf(x.shape);
    const data = new Float64Array(indices.data.length);
    forEachIndex(indices.shape, (index, position) => {
      data[position] = x.data[offsetOf(index.with(axis, indices.data[position] as number), strides)] as number;
    });
    return { shape: indices.shape, data };
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.integer(["a", "c"], { high: "b" })], attributes: { axis: 1 }, empty: false },
    { inputs: [make.float([3, "a", "b"]), make.integer(["c", "a", "b"], { high: 3 })], attributes: { axis: 0 } },
    { inputs: [make.float(["a", 4]), int32Indices(make, ["a", 1], 4)], attributes: { axis: 1 } },
  ],
});

/**
 * For axis 1 of two: `result[i, j] = x[i, indices[i, j]]`. The result has the shape of `indices`, which agrees with that of x
 * except along the axis.
 */
export const takeAlong = (x: Tensor, indices: Tensor, axis: number): Tensor =>
  takeAlongOp(x, indices, { axis: normalizeAxis(axis, x.rank) });

const scatterAddAlongOp = defineOp<{ readonly axis: number }>({
  name: "scatterAddAlong",
  arity: 3,
  accepts: "mixed",
  shape([x, indices, updates], { axis }) {
    checkAlong(x, indices, axis);
    checkUpdates(x, updates, indices.shape);
    return x.shape;
  },
  vjp: ({ inputs: [, indices], gradients: [dy], attributes: { axis } }) => [dy, undefined, takeAlong(dy, indices, axis)],
  onnx: (node, [x, indices, updates], { inputs, attributes: { axis } }) =>
    inWide(node, (inputs[0] as Tensor).dtype, [x, updates], (to, added) =>
      node("ScatterElements", [to, indices, added], { axis, reduction: "add" }),
    ),
  reference([x, indices, updates], { axis }) {
    const data = x.data.slice();
    const strides = stridesOf(x.shape);
    forEachIndex(indices.shape, (index, position) => {
      const at = offsetOf(index.with(axis, indices.data[position] as number), strides);
      data[at] = (data[at] as number) + (updates.data[position] as number);
    });
    return { shape: x.shape, data };
  },
  examples: (make) => [
    {
      inputs: [make.float(["a", "b"]), make.integer(["a", "c"], { high: "b" }), make.float(["a", "c"])],
      attributes: { axis: 1 },
      empty: false,
    },
    {
      inputs: [make.float([3, "a", "b"]), make.integer(["c", "a", "b"], { high: 3 }), make.float(["c", "a", "b"])],
      attributes: { axis: 0 },
    },
    { inputs: [make.float(["a", 4]), int32Indices(make, ["a", 1], 4), make.float(["a", 1])], attributes: { axis: 1 } },
  ],
});

/** For axis 1 of two: `result[i, indices[i, j]] += updates[i, j]`; repeated indices add up. The transpose of `takeAlong`. */
export const scatterAddAlong = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  scatterAddAlongOp(x, indices, updates, { axis: normalizeAxis(axis, x.rank) });
