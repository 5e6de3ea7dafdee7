/** What windows see, laid out as columns, and the way back ("im2col" and "col2im"). */

import { ShapeError } from "../../errors.js";
import { type Dim, divideExactly, formatShape, mulDims, productOf, type Shape, sameDim } from "../dim.js";
import { vectorJacobian } from "../gradient.js";
import type { Tensor } from "../tensor.js";
import { normalizeWindows, perAxis, unfold as unfoldWindows, type WindowOptions, windowCounts } from "./conv-windows.js";
import { zeros } from "./fill.js";
import { reshape } from "./shape.js";

export interface UnfoldOptions extends WindowOptions {
  /** Size of the windows; one number: along every spatial axis. */
  readonly kernel: number | readonly number[];
}

/**
 * x [batch, channels, ...spatial] → [batch, channels · kernel, windows]: a column for each window, row-major over windows; in it the elements
 * of each channel, row-major over the window (PyTorch's `unfold`, here for any number of spatial axes).
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor {
  const axes = x.rank - 2;
  if (axes < 1) throw new ShapeError(`unfold: ${x.describe()} must have batch, channels and at least one spatial axis.`);
  const kernel = perAxis("unfold: the kernel", options.kernel, axes, 1);
  const windows = normalizeWindows("unfold", axes, options);
  const [batch, channels, ...spatial] = x.shape as readonly [Dim, Dim, ...Dim[]];
  const counts = windowCounts(spatial, kernel, windows);
  return reshape(unfoldWindows(x, kernel, windows), [batch, mulDims(channels, ...kernel), productOf(counts)]);
}

/**
 * The transpose of `unfold` as a linear map: every column is added where its window lies. columns [batch, channels · kernel, windows] →
 * [batch, channels, ...size]. Throws a ShapeError when windows of these options over `size` are not as many.
 */
export function fold(columns: Tensor, size: Shape, options: UnfoldOptions): Tensor {
  const axes = size.length;
  const kernel = perAxis("fold: the kernel", options.kernel, axes, 1);
  const counts = windowCounts(size, kernel, normalizeWindows("fold", axes, options));
  const [batch, rows, windows] = columns.shape;
  const channels = rows === undefined ? undefined : divideExactly(rows, productOf(kernel));
  if (columns.rank !== 3 || channels === undefined || !sameDim(windows as Dim, productOf(counts)))
    throw new ShapeError(
      `fold: columns for ${formatShape(size)} must be [batch, channels · ${productOf(kernel)}, ${String(productOf(counts))}], but they are ${columns.describe()}.`,
    );
  const image = zeros([batch as Dim, channels, ...size], columns.dtype);
  return vectorJacobian([unfold(image, options)], [columns], [image])[0] as Tensor;
}
