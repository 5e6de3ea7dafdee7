/** Elements that come round at the other end, and those on a diagonal. */

import { ShapeError } from "../../errors.js";
import { addDims, type Dim, formatShape, isStatic, mulDims, normalizeAxis, productOf, sameDim, subDims } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { add, maximum, mod, mul } from "./arithmetic.js";
import { gather } from "./indexing.js";
import { range } from "./range.js";
import { numberOfElements } from "./reduce.js";
import { moveAxis, reshape } from "./shape.js";
import { concat, slice } from "./shape-slice.js";

/** Elements moved `shift` places along an axis (towards its end where positive); what leaves at one end comes in at the other. */
export function roll(x: Tensor, shift: number, axis: number): Tensor {
  if (!Number.isInteger(shift)) throw new ShapeError(`roll: a shift is a whole number, but ${shift} was given.`);
  const at = normalizeAxis(axis, x.rank);
  const size = x.shape[at] as Dim;
  if (!isStatic(size)) {
    // How often a shift goes round a size is known only when the program runs.
    // Engines divide by 0 even where there is nothing to divide.
    const around = maximum(numberOfElements([size], "int64"), 1);
    const places = mod(add(range(size, "int64"), -shift), around);
    return shift === 0 ? x : gather(x, places, at);
  }
  const from = size === 0 ? 0 : ((-shift % size) + size) % size;
  return from === 0 ? x : concat([slice(x, at, from), slice(x, at, 0, from)], at);
}

export interface DiagonalOptions {
  /** Steps to the right of the main diagonal; negative: below it. Default 0. */
  readonly offset?: number;
  /** The axes of rows and columns. Default: the last two. */
  readonly axes?: readonly [rows: number, columns: number];
}

/**
 * The elements on a diagonal, as the last axis of the result: x [..., rows, columns] → [..., length]. Throws a ShapeError where rows and
 * columns are different symbols, of which nobody knows the smaller, or where the offset lies outside.
 */
export function diagonal(x: Tensor, { offset = 0, axes: [rowAxis, columnAxis] = [-2, -1] }: DiagonalOptions = {}): Tensor {
  const [first, second] = [normalizeAxis(rowAxis, x.rank), normalizeAxis(columnAxis, x.rank)];
  if (first === second) throw new ShapeError(`diagonal: rows and columns are both axis ${first} of ${formatShape(x.shape)}.`);
  const others = x.shape.flatMap((_, axis) => (axis === first || axis === second ? [] : [axis]));
  const moved = moveAxis(moveAxis(x, first, x.rank - 1), first < second ? second - 1 : second, x.rank - 1);
  const [rows, columns] = [x.shape[first] as Dim, x.shape[second] as Dim];
  const length = shorter(subDims(rows, Math.max(-offset, 0)), subDims(columns, Math.max(offset, 0)), x);
  const flat = reshape(moved, [...others.map((axis) => x.shape[axis] as Dim), productOf([rows, columns])]);
  const last = flat.rank - 1;
  const step = addDims(columns, 1);
  const start = offset >= 0 ? offset : mulDims(columns, -offset);
  if (isStatic(step) && isStatic(length))
    return slice(flat, last, length === 0 ? 0 : start, length === 0 ? 0 : addDims(start, mulDims(length - 1, step), 1), step);
  const places = add(mul(range(length, "int64"), numberOfElements([step], "int64")), numberOfElements([start], "int64"));
  return gather(flat, places, last);
}

function shorter(rows: Dim, columns: Dim, x: Tensor): Dim {
  if (sameDim(rows, columns)) return rows;
  const difference = subDims(rows, columns);
  const length = isStatic(difference) ? (difference < 0 ? rows : columns) : undefined;
  if (length === undefined || (isStatic(length) && length < 0))
    throw new ShapeError(`diagonal: it cannot be told how long that diagonal of ${formatShape(x.shape)} is.`);
  return length;
}
