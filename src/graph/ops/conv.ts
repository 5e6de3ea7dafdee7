/** Convolution over one to three spatial axes, and its transpose. "Convolution" is cross-correlation, as everywhere in deep learning. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { addDims, type Dim, sameDim, subDims } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { add } from "./arithmetic.js";
import { conv, convTranspose, sizeBeyond } from "./conv-operators.js";
import { checkRank, normalizeWindows, perAxis, type WindowOptions } from "./conv-windows.js";
import { reshape } from "./shape.js";

export interface ConvOptions extends WindowOptions {
  /** Channels in this many groups that do not see each other; as many as channels: depthwise. Default 1. */
  readonly groups?: number;
}

/**
 * x [batch, channels, size], weight [outChannels, channels / groups, kernel], bias [outChannels] →
 * [batch, outChannels, ⌊(size + padding − dilation · (kernel − 1) − 1) / stride⌋ + 1]
 */
export const conv1d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  convolve("conv1d", 1, x, weight, bias, options);

/** The same over two spatial axes: x [batch, channels, height, width], weight [outChannels, channels / groups, ...kernel]. */
export const conv2d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  convolve("conv2d", 2, x, weight, bias, options);

/** The same over three spatial axes: x [batch, channels, depth, height, width]. */
export const conv3d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  convolve("conv3d", 3, x, weight, bias, options);

function convolve(name: string, axes: number, x: Tensor, weight: Tensor, bias: Tensor | undefined, options: ConvOptions): Tensor {
  checkRank(name, axes, x);
  checkRank(name, axes, weight, "the weight", "output and input channels");
  const { groups = 1 } = options;
  const windows = normalizeWindows(name, axes, options);
  return withBias(name, conv(x, weight, { ...windows, groups: checkGroups(name, groups) }), bias);
}

export interface ConvTransposeOptions extends ConvOptions {
  /** Sizes that the result has beyond the smallest possible, less than the stride: a strided convolution maps several sizes to one. Default 0. */
  readonly outputPadding?: number | readonly number[];
}

/**
 * The transpose of `conv1d` as a linear map: x [batch, channels, size], weight [channels, outChannels / groups, kernel],
 * bias [outChannels] → [batch, outChannels, (size − 1) · stride − padding + dilation · (kernel − 1) + 1 + outputPadding]
 */
export const convTranspose1d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convolveTransposed("convTranspose1d", 1, x, weight, bias, options);

/** The same over two spatial axes. */
export const convTranspose2d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convolveTransposed("convTranspose2d", 2, x, weight, bias, options);

/** The same over three spatial axes. */
export const convTranspose3d = (x: Tensor, weight: Tensor, bias?: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convolveTransposed("convTranspose3d", 3, x, weight, bias, options);

function convolveTransposed(
  name: string,
  axes: number,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  options: ConvTransposeOptions,
): Tensor {
  checkRank(name, axes, x);
  checkRank(name, axes, weight, "the weight", "input and output channels");
  const { groups = 1, outputPadding = 0 } = options;
  const windows = normalizeWindows(name, axes, options);
  const extra = perAxis(`${name}: the output padding`, outputPadding, axes, 0);
  for (const [axis, size] of extra.entries())
    if (size >= (windows.stride[axis] as number))
      throw new ArgumentError(`${name}: the output padding ${size} must be less than the stride ${windows.stride[axis]}.`);
  // Relative to nothing, the excess is minus the smallest size.
  const smallest = sizeBeyond(x.shape, weight.shape, new Array<Dim>(axes).fill(0), windows).map((excess) => subDims(0, excess));
  const size = smallest.map((dim, axis) => addDims(dim, extra[axis] as number));
  return withBias(name, convTranspose(x, weight, { ...windows, groups: checkGroups(name, groups), size }), bias);
}

function checkGroups(name: string, groups: number): number {
  if (!Number.isInteger(groups) || groups < 1)
    throw new ArgumentError(`${name}: the number of groups must be a whole number from 1, but ${groups} was given.`);
  return groups;
}

/** y [batch, channels, ...] plus bias [channels]. */
function withBias(name: string, y: Tensor, bias: Tensor | undefined): Tensor {
  if (!bias) return y;
  if (bias.rank !== 1 || !sameDim(bias.shape[0] as Dim, y.shape[1] as Dim))
    throw new ShapeError(`${name}: the bias must have the shape [${String(y.shape[1])}], but it is ${bias.describe()}.`);
  return add(y, reshape(bias, [bias.shape[0] as Dim, ...y.shape.slice(2).map(() => 1)]));
}
