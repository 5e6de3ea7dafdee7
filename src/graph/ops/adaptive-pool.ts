/** Pooling to a given number of windows: window i of n covers the elements from ⌊i · size / n⌋ to before ⌈(i + 1) · size / n⌉. */

import { ShapeError } from "../../errors.js";
import { isStatic } from "../dim.js";
import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { alongAxis } from "./axis-product.js";
import { perAxis } from "./conv-windows.js";
import { gather, takeAlong } from "./indexing.js";
import { squeeze } from "./shape.js";
import { argMax } from "./topk.js";

interface Window {
  readonly start: number;
  readonly end: number;
}

const windowsOf = (size: number, count: number): readonly Window[] =>
  Array.from({ length: count }, (_, i) => ({
    start: Math.floor((i * size) / count),
    end: Math.ceil(((i + 1) * size) / count),
  }));

/** Calls `pool` for each spatial axis of x, the last first, with its windows. */
function adaptively(
  name: string,
  x: Tensor,
  size: number | readonly number[],
  pool: (x: Tensor, axis: number, windows: readonly Window[]) => Tensor,
): Tensor {
  const axes = x.rank - 2;
  if (axes < 1) throw new ShapeError(`${name}: ${x.describe()} must have batch, channels and at least one spatial axis.`);
  return perAxis(`${name}: the size`, size, axes, 1).reduceRight((pooled, count, i) => {
    const extent = x.shape[2 + i];
    if (extent === undefined || !isStatic(extent) || extent === 0)
      throw new ShapeError(`${name}: spatial sizes must be numbers above 0, but ${x.describe()} was given.`);
    return extent === count ? pooled : pool(pooled, 2 + i, windowsOf(extent, count));
  }, x);
}

/** The mean of each window: x [batch, channels, ...spatial] → [batch, channels, ...size], as products with constant matrices. */
export const adaptiveAvgPool = (x: Tensor, size: number | readonly number[]): Tensor =>
  adaptively("adaptiveAvgPool", x, size, (pooled, axis, windows) =>
    alongAxis(
      pooled,
      axis,
      windows.map(({ start, end }) =>
        Array.from({ length: pooled.shape[axis] as number }, (_, i) => (i >= start && i < end ? 1 / (end - start) : 0)),
      ),
    ),
  );

/** The largest element of each window; the first of equal ones gets the gradient. Shapes as in `adaptiveAvgPool`. */
export const adaptiveMaxPool = (x: Tensor, size: number | readonly number[]): Tensor =>
  adaptively("adaptiveMaxPool", x, size, (pooled, axis, windows) => {
    const longest = Math.max(...windows.map(({ start, end }) => end - start));
    // Shorter windows see their last element again.
    const places = windows.map(({ start, end }) => Array.from({ length: longest }, (_, i) => Math.min(start + i, end - 1)));
    const elements = gather(pooled, constant(places, "int32"), axis); // [..., windows, longest, ...]
    return squeeze(takeAlong(elements, argMax(elements, axis + 1, { keepDims: true }), axis + 1), axis + 1);
  });
