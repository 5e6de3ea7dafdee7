/** Values put at computed positions, or compared with what is there; and positions in several axes at once. Sums are in `indexing.ts`. */

import { ShapeError } from "../../errors.js";
import { type Dim, formatShape, normalizeAxis, productOf, type Shape } from "../dim.js";
import type { DType } from "../dtype.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { add, div, mul } from "./arithmetic.js";
import { broadcastTo } from "./broadcasting.js";
import { cast } from "./cast.js";
import { equal } from "./compare.js";
import { zerosLike } from "./fill.js";
import { gather, scatterAdd, scatterAddAlong, takeAlong } from "./indexing.js";
import { numberOfElements } from "./reduce.js";
import { forEachIndex, offsetOf, stridesOf } from "./reference-math.js";
import { checkAlong, checkIndices, checkUpdates } from "./scatter-parts.js";
import { moveAxis, reshape } from "./shape.js";
import { select } from "./shape-slice.js";

interface AlongAttributes {
  readonly axis: number;
}

function checkOperands(x: Tensor, indices: Tensor, updates: Tensor, axis: number): Shape {
  checkAlong(x, indices, axis);
  checkUpdates(x, updates, indices.shape);
  return x.shape;
}

function scattered(
  [x, indices, updates]: readonly [ReferenceArray, ReferenceArray, ReferenceArray],
  axis: number,
  step: (before: number, update: number) => number,
): ReferenceArray {
  const data = x.data.slice();
  const strides = stridesOf(x.shape);
  forEachIndex(indices.shape, (index, position) => {
    const at = offsetOf(index.with(axis, indices.data[position] as number), strides);
    data[at] = step(data[at] as number, updates.data[position] as number);
  });
  return { shape: x.shape, data };
}

const scatterSetAlongOp = defineOp<AlongAttributes>({
  name: "scatterSetAlong",
  arity: 3,
  accepts: "mixed",
  shape: ([x, indices, updates], { axis }) => checkOperands(x, indices, updates, axis),
  vjp: ({ inputs: [, indices, updates], gradients: [dy], attributes: { axis } }) => [
    scatterSetAlong(dy, indices, zerosLike(updates), axis),
    undefined,
    takeAlong(dy, indices, axis),
  ],
  onnx: (node, [x, indices, updates], { attributes: { axis } }) => node("ScatterElements", [x, indices, updates], { axis }),
  reference: ([x, indices, updates], { axis }) => scattered([x, indices, updates], axis, (_, update) => update),
  // One index in each line: none is named twice.
  examples: (make) => [
    {
      inputs: [make.float(["a", "b"]), make.integer(["a", 1], { high: "b" }), make.float(["a", 1])],
      attributes: { axis: 1 },
      empty: false,
    },
    {
      inputs: [make.float([3, "a", "b"]), make.integer([1, "a", "b"], { high: 3 }), make.float([1, "a", "b"])],
      attributes: { axis: 0 },
    },
    {
      inputs: [make.integer(["a", 4], { high: 9 }), make.integer(["a", 1], { high: 4 }), make.integer(["a", 1], { high: 9 })],
      attributes: { axis: 1 },
    },
  ],
});

/**
 * For axis 1 of two: `result[i, indices[i, j]] = updates[i, j]`; elsewhere x. The indices of a line must differ: of two values
 * for one place it is open which stays, and both would get its gradient.
 */
export const scatterSetAlong = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  scatterSetAlongOp(x, indices, updates, { axis: normalizeAxis(axis, x.rank) });

const scatterMaxAlongOp = defineOp<AlongAttributes>({
  name: "scatterMaxAlong",
  arity: 3,
  accepts: "mixed",
  shape: ([x, indices, updates], { axis }) => checkOperands(x, indices, updates, axis),
  // Whatever equals the result shares its gradient equally (as in PyTorch's `scatter_reduce`).
  vjp({ inputs: [x, indices, updates], outputs: [y], gradients: [dy], attributes: { axis } }) {
    const stayed = cast(equal(x, y), x.dtype);
    const reached = cast(equal(updates, takeAlong(y, indices, axis)), x.dtype);
    const share = div(dy, scatterAddAlong(stayed, indices, reached, axis));
    return [mul(share, stayed), undefined, mul(takeAlong(share, indices, axis), reached)];
  },
  onnx: (node, [x, indices, updates], { attributes: { axis } }) =>
    node("ScatterElements", [x, indices, updates], { axis, reduction: "max" }),
  reference: ([x, indices, updates], { axis }) => scattered([x, indices, updates], axis, Math.max),
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
  ],
});

/**
 * For axis 1 of two: `result[i, indices[i, j]] = max(x[i, indices[i, j]], updates[i, j])`, also over repeated indices. Equal ones
 * share the gradient.
 */
export const scatterMaxAlong = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  scatterMaxAlongOp(x, indices, updates, { axis: normalizeAxis(axis, x.rank) });

type Scatter = (x: Tensor, indices: Tensor, updates: Tensor, axis: number) => Tensor;

/** Whole parts along an axis, as `scatterAdd` takes them, through single elements of a matrix whose rows are the parts. */
const ofParts =
  (along: Scatter): Scatter =>
  (x, indices, updates, axis) => {
    checkIndices(indices);
    const at = normalizeAxis(axis, x.rank);
    const target = moveAxis(x, at, 0);
    checkUpdates(x, updates, [...indices.shape, ...target.shape.slice(1)]);
    const [count, width] = [productOf(indices.shape), productOf(target.shape.slice(1))];
    const rows = broadcastTo(reshape(indices, [count, 1]), [count, width]);
    const result = along(reshape(target, [target.shape[0] as Dim, width]), rows, reshape(updates, [count, width]), 0);
    return moveAxis(reshape(result, target.shape), 0, at);
  };

/**
 * x with the parts that `indices` name along `axis` replaced by `updates`. For axis 0: `result[indices[i], ...] = updates[i, ...]`,
 * updates [...indices.shape, ...x.shape without the axis]. The indices must differ.
 */
export const scatterSet = (x: Tensor, indices: Tensor, updates: Tensor, axis = 0): Tensor =>
  ofParts(scatterSetAlong)(x, indices, updates, axis);

/** The same, with the larger of what is there and the updates; repeated indices are allowed. */
export const scatterMax = (x: Tensor, indices: Tensor, updates: Tensor, axis = 0): Tensor =>
  ofParts(scatterMaxAlong)(x, indices, updates, axis);

/** The leading axes that positions speak of as one, and the positions in it. */
function flattenPositions(name: string, x: Tensor, indices: Tensor): { readonly table: Shape; readonly rows: Tensor } {
  checkIndices(indices);
  const depth = indices.shape.at(-1);
  if (typeof depth !== "number" || depth < 1 || depth > x.rank)
    throw new ShapeError(
      `${name}: the last axis of the indices ${formatShape(indices.shape)} must say how many axes of ${formatShape(x.shape)} they are positions in, 1 to ${x.rank}`,
    );
  let rows = select(indices, -1, 0);
  for (let axis = 1; axis < depth; axis++)
    rows = add(mul(rows, numberOfElements([x.shape[axis] as Dim], indices.dtype as DType)), select(indices, -1, axis));
  return { table: [productOf(x.shape.slice(0, depth)), ...x.shape.slice(depth)], rows };
}

/** indices [..., depth] → [..., ...x.shape.slice(depth)]: `result[i] = x[indices[i, 0], ..., indices[i, depth − 1]]`. */
export function gatherND(x: Tensor, indices: Tensor): Tensor {
  const { table, rows } = flattenPositions("gatherND", x, indices);
  return gather(reshape(x, table), rows);
}

/**
 * `result[indices[i, 0], ..., indices[i, depth − 1]]` gets `updates[i]`, which is put there (`set`: the positions must differ), added
 * to what is there, or taken where it is larger. indices [..., depth], updates [..., ...x.shape.slice(depth)].
 */
export function scatterND(
  x: Tensor,
  indices: Tensor,
  updates: Tensor,
  { reduction = "set" }: { readonly reduction?: "set" | "add" | "max" } = {},
): Tensor {
  const { table, rows } = flattenPositions("scatterND", x, indices);
  const scatter = { set: scatterSet, add: scatterAdd, max: scatterMax }[reduction];
  return reshape(scatter(reshape(x, table), rows, updates), x.shape);
}
