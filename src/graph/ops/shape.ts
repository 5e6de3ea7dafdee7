/** The same elements under another shape or another order of axes. Slices and joins are in `shape-slice.ts`. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { type Dim, divideExactly, formatShape, normalizeAxis, productOf, type Shape, sameDim, sameShape } from "../dim.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { generate, offsetOf, stridesOf } from "./reference-math.js";

const reshapeOp = defineOp<{ readonly shape: Shape }>({
  name: "reshape",
  traits: { moves: "view" },
  arity: 1,
  shape([x], { shape }) {
    if (!sameDim(productOf(x.shape), productOf(shape)))
      throw new ShapeError(
        `${formatShape(x.shape)} has ${String(productOf(x.shape))} elements, but ${formatShape(shape)} has ${String(productOf(shape))}`,
      );
    return shape;
  },
  vjp: ({ inputs: [x], gradients: [dy] }) => [reshape(dy, x.shape)],
  onnx: (node, [x], { attributes: { shape } }) => node("Reshape", [x, node.dims(shape)], { allowzero: 1 }),
  reference: ([x], { shape }) => ({ shape, data: x.data }),
  examples: (make) => [
    { inputs: [make.float(["a", "b", 6])], attributes: { shape: [make.dim("a"), make.dim("b"), 2, 3] } },
    { inputs: [make.float(["a", 1, "b"])], attributes: { shape: [make.dim("b"), make.dim("a")] } },
    { inputs: [make.float([1])], attributes: { shape: [] } },
  ],
});

/** The same elements in row-major order under another shape. One size may be −1: whatever remains. */
export function reshape(x: Tensor, shape: readonly Dim[]): Tensor {
  const target = resolveShape(x.shape, shape);
  return sameShape(x.shape, target) ? x : reshapeOp(x, { shape: target });
}

function resolveShape(from: Shape, shape: Shape): Shape {
  const open = shape.indexOf(-1);
  if (open < 0) return shape;
  const rest = shape.filter((_, i) => i !== open);
  const size = divideExactly(productOf(from), productOf(rest));
  if (size === undefined || rest.includes(-1))
    throw new ShapeError(
      `reshape: ${formatShape(from)} cannot become ${formatShape(shape)}: the other sizes do not divide the number of elements.`,
    );
  return shape.with(open, size);
}

/** Removes axes of size 1: those given, or all of them. Throws when a given axis has another size. */
export function squeeze(x: Tensor, axes?: number | readonly number[]): Tensor {
  const removed = axes === undefined ? undefined : [axes].flat().map((axis) => normalizeAxis(axis, x.rank));
  for (const axis of removed ?? [])
    if (x.shape[axis] !== 1)
      throw new ShapeError(
        `squeeze: axis ${axis} of ${formatShape(x.shape)} has size ${String(x.shape[axis])}; only an axis of size 1 can be removed.`,
      );
  return reshape(
    x,
    x.shape.filter((dim, axis) => (removed ? !removed.includes(axis) : dim !== 1)),
  );
}

/** Inserts axes of size 1, at these positions of the result; negative ones count from its end. */
export function unsqueeze(x: Tensor, axes: number | readonly number[]): Tensor {
  const given = [axes].flat();
  const rank = x.rank + given.length;
  const inserted = new Set(given.map((axis) => normalizeAxis(axis, rank)));
  if (inserted.size !== given.length) throw new ArgumentError(`unsqueeze: the axes ${given.join(", ")} name one position twice.`);
  const sizes = x.shape.values();
  return reshape(
    x,
    Array.from({ length: rank }, (_, axis) => (inserted.has(axis) ? 1 : (sizes.next().value as Dim))),
  );
}

/** Joins the axes from `startAxis` to `endAxis` (inclusive) into one. Default: all; a scalar becomes [1]. */
export function flatten(x: Tensor, startAxis = 0, endAxis = -1): Tensor {
  if (x.rank === 0) return reshape(x, [1]);
  const start = normalizeAxis(startAxis, x.rank);
  const end = normalizeAxis(endAxis, x.rank);
  if (end < start) throw new ArgumentError(`flatten: the end axis ${endAxis} lies before the start axis ${startAxis}.`);
  return reshape(x, [...x.shape.slice(0, start), productOf(x.shape.slice(start, end + 1)), ...x.shape.slice(end + 1)]);
}

const transposeOp = defineOp<{ readonly permutation: readonly number[] }>({
  name: "transpose",
  traits: { moves: "whole" },
  arity: 1,
  shape([x], { permutation }) {
    if (permutation.length !== x.rank || !permutation.toSorted((a, b) => a - b).every((axis, i) => axis === i))
      throw new ShapeError(
        `[${permutation.join(", ")}] is not an order of the axes of ${formatShape(x.shape)}: each from 0 to ${x.rank - 1} must come once`,
      );
    return permutation.map((axis) => x.shape[axis] as Dim);
  },
  vjp: ({ gradients: [dy], attributes: { permutation } }) => [transpose(dy, inverseOf(permutation))],
  onnx: (node, [x], { attributes: { permutation } }) => node("Transpose", [x], { perm: permutation }),
  reference([x], { permutation }) {
    const strides = stridesOf(x.shape);
    const moved = permutation.map((axis) => strides[axis] as number);
    const shape = permutation.map((axis) => x.shape[axis] as number);
    return generate(shape, (index) => x.data[offsetOf(index, moved)] as number);
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"])], attributes: { permutation: [1, 0] } },
    { inputs: [make.float(["a", "b", 3, "c"])], attributes: { permutation: [2, 0, 3, 1] } },
    { inputs: [make.float(["a", 1, "b"])], attributes: { permutation: [0, 2, 1] } },
    { inputs: [make.integer(["a", "b"], { high: 9 })], attributes: { permutation: [1, 0] } },
  ],
});

/** `inverse[permutation[i]] = i` */
const inverseOf = (permutation: readonly number[]): number[] => permutation.map((_, axis) => permutation.indexOf(axis));

/** Axis i of the result is axis `permutation[i]` of x. Default: the axes in reverse. */
export function transpose(x: Tensor, permutation?: readonly number[]): Tensor {
  const order = permutation?.map((axis) => normalizeAxis(axis, x.rank)) ?? x.shape.map((_, axis) => x.rank - 1 - axis);
  const unchanged = order.length === x.rank && order.every((axis, i) => axis === i);
  return unchanged ? x : transposeOp(x, { permutation: order });
}

/** Exchanges two axes. */
export function swapAxes(x: Tensor, a: number, b: number): Tensor {
  const [first, second] = [normalizeAxis(a, x.rank), normalizeAxis(b, x.rank)];
  return transpose(
    x,
    x.shape.map((_, axis) => (axis === first ? second : axis === second ? first : axis)),
  );
}

/** Moves one axis to another position; the others keep their order. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  const source = normalizeAxis(from, x.rank);
  const others = x.shape.flatMap((_, axis) => (axis === source ? [] : [axis]));
  return transpose(x, others.toSpliced(normalizeAxis(to, x.rank), 0, source));
}
