/** Tensors of one value. */

import type { Shape } from "../dim.js";
import type { DType } from "../dtype.js";
import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { broadcastTo } from "./broadcasting.js";

/** A tensor filled with one value. */
export const full = (shape: Shape, value: number, dtype: DType = "float32"): Tensor => broadcastTo(constant(value, dtype), shape);

export const zeros = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 0, dtype);
export const ones = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 1, dtype);
export const zerosLike = (x: Tensor): Tensor => full(x.shape, 0, x.dtype);
export const onesLike = (x: Tensor): Tensor => full(x.shape, 1, x.dtype);
