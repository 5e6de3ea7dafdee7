/** The largest and smallest elements along an axis, and where they are. Of equal elements the first counts as the more extreme. */

import { ShapeError } from "../../errors.js";
import { type Dim, formatShape, isStatic, normalizeAxis, subDims } from "../dim.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { zerosLike } from "./fill.js";
import { scatterAddAlong } from "./indexing.js";
import { forEachIndex, offsetOf, sizeOf, stridesOf } from "./reference-math.js";

interface TopKAttributes {
  readonly k: Dim;
  readonly axis: number;
  readonly largest: boolean;
}

/** Positions along the axis from the most extreme element on, for each index of the other axes. */
function forEachRanking(
  x: ReferenceArray,
  axis: number,
  largest: boolean,
  visit: (index: readonly number[], ranking: readonly number[]) => void,
): void {
  const strides = stridesOf(x.shape);
  const size = x.shape[axis] as number;
  forEachIndex(x.shape.with(axis, 1), (index) => {
    const value = (position: number) => x.data[offsetOf(index.with(axis, position), strides)] as number;
    const positions = Array.from({ length: size }, (_, position) => position);
    visit(
      index,
      positions.sort((a, b) => (largest ? value(b) - value(a) : value(a) - value(b)) || a - b),
    );
  });
}

const topKOp = defineOp<TopKAttributes>({
  name: "topK",
  arity: 1,
  accepts: "number",
  outputs: 2,
  dtype: ([x]) => [x.dtype, "int64"],
  shape([x], { k, axis }) {
    if (isStatic(k) && !Number.isInteger(k)) throw new ShapeError(`${k} is not a number of elements that can be chosen`);
    const shape = x.shape.with(axis, k);
    return [shape, shape];
  },
  requires: ([x], { k, axis }) =>
    [k, subDims(x.shape[axis] as Dim, k)].map((nonNegative) => ({
      nonNegative,
      otherwise: `${String(k)} elements cannot be chosen along axis ${axis} of ${formatShape(x.shape)}`,
    })),
  vjp: ({ inputs: [x], outputs: [, indices], gradients: [dValues], attributes: { axis } }) => [
    scatterAddAlong(zerosLike(x), indices, dValues, axis),
  ],
  onnx: (node, [x], { attributes: { k, axis, largest } }) =>
    node.many("TopK", [x, node.dims([k])], 2, { axis, largest: Number(largest), sorted: 1 }),
  reference([x], { k, axis, largest }) {
    const shape = x.shape.with(axis, k);
    const [values, indices] = [new Float64Array(sizeOf(shape)), new Float64Array(sizeOf(shape))];
    const [from, to] = [stridesOf(x.shape), stridesOf(shape)];
    forEachRanking(x, axis, largest, (index, ranking) => {
      for (let rank = 0; rank < k; rank++) {
        const at = offsetOf(index.with(axis, rank), to);
        const position = ranking[rank] as number;
        indices[at] = position;
        values[at] = x.data[offsetOf(index.with(axis, position), from)] as number;
      }
    });
    return [
      { shape, data: values },
      { shape, data: indices },
    ];
  },
  // Not empty: ONNX Runtime divides by the number of rows, which ends the process.
  examples: (make) => [
    { inputs: [make.float(["a", 5])], attributes: { k: 2, axis: 1, largest: true }, empty: false },
    { inputs: [make.float([4, "a", "b"])], attributes: { k: 3, axis: 0, largest: false }, empty: false },
    { inputs: [make.float(["a", "b"])], attributes: { k: make.dim("b"), axis: 1, largest: true }, empty: false },
    // Few different values: the first of equal ones comes first.
    { inputs: [make.integer(["a", 9], { low: 0, high: 3 })], attributes: { k: 6, axis: 1, largest: true }, empty: false },
  ],
});

/**
 * The k largest (or smallest) elements along an axis in falling (rising) order, and their positions (int64); the gradient goes to
 * where they came from. x [..., size, ...] → two of [..., k, ...]. Throws a ShapeError when k is larger than the axis.
 */
export function topK(
  x: Tensor,
  k: Dim,
  axis = -1,
  { largest = true }: { readonly largest?: boolean } = {},
): { readonly values: Tensor; readonly indices: Tensor } {
  const [values, indices] = topKOp(x, { k, axis: normalizeAxis(axis, x.rank), largest }) as readonly [Tensor, Tensor];
  return { values, indices };
}

interface ArgAttributes {
  readonly axis: number;
  readonly keepDims: boolean;
}

function defineArg(name: string, onnx: string, largest: boolean) {
  const op = defineOp<ArgAttributes>({
    name,
    arity: 1,
    accepts: "number",
    dtype: () => "int64",
    shape: ([x], { axis, keepDims }) => (keepDims ? x.shape.with(axis, 1) : x.shape.toSpliced(axis, 1)),
    vjp: "nonDifferentiable",
    onnx: (node, [x], { attributes: { axis, keepDims } }) =>
      node(onnx, [x], { axis, keepdims: Number(keepDims), select_last_index: 0 }),
    reference([x], { axis, keepDims }) {
      const kept = x.shape.with(axis, 1);
      const data = new Float64Array(sizeOf(kept));
      let at = 0;
      forEachRanking(x, axis, largest, (_, [first]) => {
        data[at++] = first as number;
      });
      return { shape: keepDims ? kept : x.shape.toSpliced(axis, 1), data };
    },
    examples: (make) => [
      { inputs: [make.float(["a", "b"])], attributes: { axis: 1, keepDims: false }, empty: false },
      { inputs: [make.float(["a", "b", "c"])], attributes: { axis: 1, keepDims: true }, empty: false },
      // Few different values: the first of equal ones is taken.
      {
        inputs: [{ ...make.integer([7, "a"], { high: 3 }), dtype: "int32" }],
        attributes: { axis: 0, keepDims: false },
        empty: false,
      },
    ],
  });
  return (x: Tensor, axis = -1, { keepDims = false }: { readonly keepDims?: boolean } = {}): Tensor =>
    op(x, { axis: normalizeAxis(axis, x.rank), keepDims });
}

/** Where the largest element along an axis is (int64), the first of equal ones. The axis must not be empty; it disappears. */
export const argMax = defineArg("argMax", "ArgMax", true);

/** Where the smallest element along an axis is (int64), the first of equal ones. The axis must not be empty; it disappears. */
export const argMin = defineArg("argMin", "ArgMin", false);
