/** A constant matrix times one axis of a tensor: means of windows and interpolations are such products, exact and the same everywhere. */

import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { matmul } from "./matmul.js";
import { moveAxis } from "./shape.js";

/** `result[..., i, ...] = Σⱼ matrix[i][j] · x[..., j, ...]` */
export function alongAxis(x: Tensor, axis: number, matrix: readonly (readonly number[])[]): Tensor {
  const weights = constant(matrix, x.dtype);
  const last = x.rank - 1;
  if (axis === last) return matmul(x, weights, { transposeB: true });
  if (axis === last - 1) return matmul(weights, x);
  return moveAxis(matmul(moveAxis(x, axis, last), weights, { transposeB: true }), last, axis);
}
