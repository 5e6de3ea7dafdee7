/** What operators on computed positions share: checks of their operands, and sums in a dtype that holds them. */

import { DTypeError, ShapeError } from "../../errors.js";
import { type Dim, formatShape, type Shape, sameDim, sameShape } from "../dim.js";
import { type DType, onnxDType } from "../dtype.js";
import type { OnnxBuilder, OnnxValue } from "../onnx-face.js";
import type { Tensor } from "../tensor.js";

export function checkIndices(indices: Tensor): void {
  if (indices.dtype !== "int32" && indices.dtype !== "int64")
    throw new DTypeError(`indices must be int32 or int64, but they are ${indices.dtype}; use \`cast\``);
}

export function checkUpdates(x: Tensor, updates: Tensor, shape: Shape): void {
  if (updates.dtype !== x.dtype)
    throw new DTypeError(`the updates must be ${x.dtype} like x, but they are ${updates.dtype}; use \`cast\``);
  if (!sameShape(updates.shape, shape))
    throw new ShapeError(`the updates must have the shape ${formatShape(shape)}, but they have ${formatShape(updates.shape)}`);
}

/** Indices select within one axis, so every other size is that of x. */
export function checkAlong(x: Tensor, indices: Tensor, axis: number): void {
  checkIndices(indices);
  if (indices.rank !== x.rank || !x.shape.every((dim, i) => i === axis || sameDim(dim, indices.shape[i] as Dim)))
    throw new ShapeError(
      `indices ${formatShape(indices.shape)} must have the sizes of ${formatShape(x.shape)} except in axis ${axis}`,
    );
}

/** The updates of narrow floats are added in float32: sums lose less, and engines lack them. */
export const inWide = (
  node: OnnxBuilder,
  dtype: DType,
  [x, updates]: readonly [OnnxValue, OnnxValue],
  add: (x: OnnxValue, updates: OnnxValue) => OnnxValue,
): OnnxValue => {
  if (dtype !== "float16" && dtype !== "bfloat16") return add(x, updates);
  const wide = (value: OnnxValue) => node("Cast", [value], { to: onnxDType("float32") });
  return node("Cast", [add(wide(x), wide(updates))], { to: onnxDType(dtype) });
};
