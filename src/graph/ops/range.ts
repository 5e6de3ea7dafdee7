/** Whole numbers in a row, and what is made of comparing them. */

import { ArgumentError, DTypeError, ShapeError } from "../../errors.js";
import { addDims, type Dim, isStatic, subDims } from "../dim.js";
import { bytesPerElement, checkNumber, type DType, isInteger, onnxDType } from "../dtype.js";
import type { OnnxBuilder, OnnxValue } from "../onnx-face.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { cast } from "./cast.js";
import { equal, lessEqual } from "./compare.js";
import { generate } from "./reference-math.js";
import { where } from "./select.js";
import { unsqueeze } from "./shape.js";

interface RangeAttributes {
  readonly start: Dim;
  readonly size: Dim;
  readonly dtype: DType;
}

const rangeOp = defineOp<RangeAttributes>({
  name: "range",
  arity: 0,
  dtype: (_, { dtype }) => dtype,
  shape: (_, { size }) => [size],
  vjp: "nonDifferentiable",
  onnx(node, _, { attributes: { start, size, dtype } }) {
    // ONNX counts in these two; other element types are cast.
    const counted = dtype === "int32" ? "int32" : "int64";
    const numbers = node("Range", [
      scalarDim(node, start, counted),
      scalarDim(node, addDims(start, size), counted),
      node.scalar(counted, 1),
    ]);
    return dtype === counted ? numbers : node("Cast", [numbers], { to: onnxDType(dtype) });
  },
  reference: (_, { start, size }) => generate([size], ([i]) => start + (i as number)),
  examples: (make) => [
    { inputs: [], attributes: { start: 0, size: make.dim("a"), dtype: "int64" } },
    { inputs: [], attributes: { start: 3, size: 4, dtype: "int32" } },
    { inputs: [], attributes: { start: make.dim("b"), size: make.dim("a"), dtype: "int32" } },
    { inputs: [], attributes: { start: -2, size: make.dim("a"), dtype: "float32" } },
  ],
});

/** A size as a rank-0 value, computed while the program runs where it is symbolic. */
function scalarDim(node: OnnxBuilder, dim: Dim, dtype: DType): OnnxValue {
  if (isStatic(dim)) return node.scalar(dtype, dim);
  const value = node("Squeeze", [node.dims([dim]), node.int64s([0])]);
  return dtype === "int64" ? value : node("Cast", [value], { to: onnxDType(dtype) });
}

/** `start`, `start + 1`, ...: [size] whole numbers, from 0 by default. */
export function range(size: Dim, dtype: DType = "int64", start: Dim = 0): Tensor {
  if (dtype === "bool") throw new ArgumentError("range: numbers in a row cannot be bool; use a comparison of two ranges.");
  if (isStatic(size) && (!Number.isInteger(size) || size < 0))
    throw new ArgumentError(`range: the size must be a whole number from 0, but ${size} was given.`);
  if (isStatic(size) && isStatic(start) && size > 0)
    for (const number of [start, start + size - 1]) checkNumber(dtype, number, "range: a number");
  return rangeOp({ start, size, dtype });
}

/**
 * Rows of zeros with a one at each index: indices [...] → [..., depth]. An index outside 0 … depth − 1 (an ignored label) gives
 * a row of zeros.
 */
export function oneHot(indices: Tensor, depth: Dim, dtype: DType = "float32"): Tensor {
  if (!isInteger(indices.dtype))
    throw new DTypeError(`oneHot: indices must be integers, but they are ${indices.describe()}; use \`cast\`.`);
  // Narrow integers do not hold every depth.
  const wide = bytesPerElement(indices.dtype) < 4 ? cast(indices, "int32") : indices;
  return cast(equal(unsqueeze(wide, -1), range(depth, wide.dtype)), dtype);
}

/**
 * Which keys each query may see: bool [queries, keys], true where key j ≤ offset + i. `offset` is the position of the first
 * query among the keys; by default the queries are the last ones, as when keys from a cache come before them.
 */
export function causalMask(queries: Dim, keys: Dim, offset: Dim = subDims(keys, queries)): Tensor {
  // int32: WebGPU has no 64-bit integers.
  return lessEqual(range(keys, "int32"), unsqueeze(range(queries, "int32", offset), 1));
}

/**
 * x [..., rows, columns] with zeros above a diagonal: the main one by default, `diagonal` steps further right, or left where it
 * is negative.
 */
export const tril = (x: Tensor, diagonal = 0): Tensor => where(lowerTriangle(x, diagonal), x, 0);

/** x [..., rows, columns] with zeros below a diagonal; see `tril`. */
export const triu = (x: Tensor, diagonal = 0): Tensor => where(lowerTriangle(x, diagonal - 1), 0, x);

function lowerTriangle(x: Tensor, diagonal: number): Tensor {
  if (x.rank < 2) throw new ShapeError(`A triangle needs rows and columns, but ${x.describe()} has ${x.rank} axes.`);
  return causalMask(x.size(-2), x.size(-1), diagonal);
}
