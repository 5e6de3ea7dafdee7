/** Gradients that pass what has none: rounding, choosing (Bengio, Léonard & Courville 2013, "Estimating or propagating gradients"). */

import { ShapeError } from "../errors.js";
import { customGradient } from "./custom-gradient.js";
import { formatShape, sameShape } from "./dim.js";
import { round } from "./ops/arithmetic.js";
import type { Tensor } from "./tensor.js";

/** `value`, whose gradient goes to x as if it were x. Both have one shape and dtype; `value` itself gets none. */
export function straightThrough(value: Tensor, x: Tensor): Tensor {
  if (value.dtype !== x.dtype || !sameShape(value.shape, x.shape))
    throw new ShapeError(
      `straightThrough: the value ${value.dtype}${formatShape(value.shape)} must be like x, ${x.dtype}${formatShape(x.shape)}.`,
    );
  return customGradient(
    (_: Tensor) => [value],
    ({ gradients: [dy] }) => [dy],
  )(x)[0];
}

/** x rounded to whole numbers, with the gradient of x. */
export const roundStraightThrough = (x: Tensor): Tensor => straightThrough(round(x), x);
