/** Images of another size. Each axis is a product with a constant matrix (or a choice of elements), the same on every engine. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { isStatic } from "../dim.js";
import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { alongAxis } from "./axis-product.js";
import { gather } from "./indexing.js";
import { type AxisResize, nearestPlaces, type ResizeMode, resizeWeights } from "./resize-weights.js";

export type { ResizeMode };

export interface ResizeOptions {
  /** Spatial sizes of the result; or give `scale`. */
  readonly size?: readonly number[];
  /** Factors on the spatial sizes, which are rounded down; places are computed with the factors, not with the rounded sizes. */
  readonly scale?: number | readonly number[];
  /** `linear` is bilinear for two spatial axes, `cubic` bicubic. Default `linear`. */
  readonly mode?: ResizeMode;
  /** Widen the filter when the image becomes smaller, so that no element is passed over. Default false. */
  readonly antialias?: boolean;
  /** Let the centres of the corner elements meet, instead of the corners of the image. Default false. */
  readonly alignCorners?: boolean;
}

/**
 * x [batch, channels, ...spatial] → [batch, channels, ...size], as PyTorch's `interpolate`; spatial sizes are numbers. Throws an
 * ArgumentError for options that do not go together, a ShapeError when sizes are unknown.
 */
export function resize(x: Tensor, options: ResizeOptions): Tensor {
  const { mode = "linear", antialias = false, alignCorners = false } = options;
  if (mode.startsWith("nearest") && (antialias || alignCorners))
    throw new ArgumentError(
      `resize: the nearest element is taken as it is; ${antialias ? "antialias" : "alignCorners"} has no meaning.`,
    );
  return axesOf(x, options).reduceRight<Tensor>((resized, axis, i) => {
    const { from, to } = axis;
    if (from === to && (alignCorners || axis.scale === undefined || axis.scale === 1)) return resized;
    const one = { ...axis, alignCorners };
    if (mode === "linear" || mode === "cubic") return alongAxis(resized, 2 + i, resizeWeights(mode, antialias, one));
    return gather(resized, constant([...nearestPlaces(one, mode === "nearestExact")], "int32"), 2 + i);
  }, x);
}

function axesOf(x: Tensor, { size, scale }: ResizeOptions): readonly Omit<AxisResize, "alignCorners">[] {
  const spatial = x.shape.slice(2);
  if (spatial.length === 0 || !spatial.every((dim) => isStatic(dim) && dim > 0))
    throw new ShapeError(
      `resize: ${x.describe()} must be [batch, channels, ...spatial] with spatial sizes that are numbers above 0.`,
    );
  const factors = typeof scale === "number" ? spatial.map(() => scale) : scale;
  const given = size ?? factors;
  if (!given || (size && factors)) throw new ArgumentError("resize: give either `size` or `scale`.");
  if (given.length !== spatial.length)
    throw new ArgumentError(`resize: ${spatial.length} spatial axes need as many sizes, but ${given.length} were given.`);
  return given.map((each, i) => {
    const from = spatial[i] as number;
    const to = size ? each : Math.floor(from * each);
    if (!Number.isInteger(to) || to < 1)
      throw new ArgumentError(`resize: sizes are whole numbers from 1, but ${size ? each : `${from} · ${each}`} was given.`);
    return size ? { from, to } : { from, to, scale: 1 / each };
  });
}
