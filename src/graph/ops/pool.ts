/** Pooling over one to three spatial axes: the maximum or the mean of each window. The mean over all positions is `mean`. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { type Dim, isStatic, mulDims, productOf, type Shape } from "../dim.js";
import type { ExampleMaker } from "../example.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { add, div, maximum, mod, mul } from "./arithmetic.js";
import { cast } from "./cast.js";
import { convTranspose } from "./conv-operators.js";
import {
  checkRank,
  normalizeWindows,
  onnxWindows,
  perAxis,
  unfold,
  type WindowOptions,
  type Windows,
  windowCounts,
  windowsFit,
} from "./conv-windows.js";
import { ones, zeros } from "./fill.js";
import { scatterAddAlong } from "./indexing.js";
import { range } from "./range.js";
import { numberOfElements } from "./reduce.js";
import { forEachIndex, generate, offsetOf, stridesOf } from "./reference-math.js";
import { reshape } from "./shape.js";
import { pad } from "./shape-slice.js";
import { argMax } from "./topk.js";

interface PoolAttributes extends Windows {
  readonly kernel: readonly number[];
}

const pooledShape = (x: Tensor, { kernel, ...windows }: PoolAttributes): Shape => [
  ...x.shape.slice(0, 2),
  ...windowCounts(x.shape.slice(2), kernel, windows),
];

const maxPoolOp = defineOp<PoolAttributes>({
  name: "maxPool",
  arity: 1,
  accepts: "float",
  shape: ([x], attributes) => pooledShape(x, attributes),
  requires: ([x], attributes) => windowsFit(x.shape.slice(2), attributes.kernel, attributes),
  vjp: ({ inputs: [x], gradients: [dy], attributes }) => [maxPoolGradient(x, dy, attributes)],
  onnx: (node, [x], { attributes: { kernel, ...windows } }) =>
    node("MaxPool", [x], { kernel_shape: kernel, ...onnxWindows(windows) }),
  reference: ([x], attributes, { outputs: [output] }) =>
    poolReference(x, output?.shape ?? [], attributes, (values) => Math.max(...values)),
  examples: (make) => poolExamples(make, [1, 2]).map((example) => ({ ...example, empty: false })),
});

/**
 * The gradient goes to the first largest element of each window. It is looked up again in the unfolded windows: MaxPool could give
 * its place too, but not on WebGPU.
 */
function maxPoolGradient(x: Tensor, dy: Tensor, { kernel, ...windows }: PoolAttributes): Tensor {
  const [batch, channels, ...spatial] = x.shape as readonly [Dim, Dim, ...Dim[]];
  const counts = dy.shape.slice(2);
  const elements = unfold(x, kernel, windows, Number.NEGATIVE_INFINITY);
  const largest = argMax(reshape(elements, [batch, channels, productOf(kernel), ...counts]), 2); // [batch, channels, ...counts]
  const places = planePositions(cast(largest, "int32"), spatial, kernel, windows);
  const plane = productOf(spatial);
  const dx = scatterAddAlong(
    zeros([batch, channels, plane], x.dtype),
    reshape(places, [batch, channels, productOf(counts)]),
    reshape(dy, [batch, channels, productOf(counts)]),
    2,
  );
  return reshape(dx, x.shape);
}

/** From the place of an element within each window (row-major) to its place among all spatial positions. */
function planePositions(inWindow: Tensor, spatial: readonly Dim[], kernel: readonly number[], windows: Windows): Tensor {
  const counts = inWindow.shape.slice(2);
  let places: Tensor | undefined;
  for (const [axis, size] of spatial.entries()) {
    const behind = kernel.slice(axis + 1).reduce((product, extent) => product * extent, 1);
    const element = mod(div(inWindow, behind), kernel[axis] as number);
    const start = mul(range(counts[axis] as Dim, "int32"), windows.stride[axis] as number);
    const first = reshape(start, [counts[axis] as Dim, ...counts.slice(axis + 1).map(() => 1)]);
    const padded = add(mul(element, windows.dilation[axis] as number), first);
    // A window of nothing but −∞ may name an element of the padding.
    const place = maximum(add(padded, -(windows.padBefore[axis] as number)), 0);
    places = places ? add(mul(places, numberOfElements([size], "int32")), place) : place;
  }
  return places as Tensor;
}

interface AvgPoolAttributes extends PoolAttributes {
  readonly countPadding: boolean;
}

const avgPoolOp = defineOp<AvgPoolAttributes>({
  name: "avgPool",
  arity: 1,
  accepts: "float",
  shape: ([x], attributes) => pooledShape(x, attributes),
  requires: ([x], attributes) => windowsFit(x.shape.slice(2), attributes.kernel, attributes),
  vjp: ({ inputs: [x], gradients: [dy], attributes }) => [avgPoolGradient(x, dy, attributes)],
  onnx(node, [x], { attributes: { kernel, countPadding, ...windows } }) {
    const { strides, pads } = onnxWindows(windows);
    return node("AveragePool", [x], { kernel_shape: kernel, strides, pads, count_include_pad: Number(countPadding) });
  },
  reference: ([x], attributes, { outputs: [output] }) =>
    poolReference(x, output?.shape ?? [], attributes, (values) => {
      const total = values.reduce((sum, value) => sum + value, 0);
      return (
        total / (attributes.countPadding ? attributes.kernel.reduce((product, extent) => product * extent, 1) : values.length)
      );
    }),
  examples: (make) =>
    poolExamples(make, [1, 1]).flatMap(({ attributes, ...example }) =>
      [true, false].map((countPadding) => ({ ...example, attributes: { ...attributes, countPadding }, empty: false })),
    ),
});

/** A mean is a convolution of each channel with equal weights; its gradient is the transpose of that. */
function avgPoolGradient(x: Tensor, dy: Tensor, attributes: AvgPoolAttributes): Tensor {
  const { kernel, countPadding, ...windows } = attributes;
  const [batch, channels, ...spatial] = x.shape as readonly [Dim, Dim, ...Dim[]];
  const elements = kernel.reduce((product, extent) => product * extent, 1);
  // The mean of ones, padded with zeros, is the share of each window that is not padding.
  const counted = countPadding
    ? elements
    : mul(avgPoolOp(ones([1, 1, ...spatial], x.dtype), { ...attributes, countPadding: true }), elements);
  const dx = convTranspose(
    reshape(div(dy, counted), [mulDims(batch, channels), 1, ...dy.shape.slice(2)]),
    ones([1, 1, ...kernel], x.dtype),
    {
      ...windows,
      groups: 1,
      size: spatial,
    },
  );
  return reshape(dx, x.shape);
}

/** `summary` of the values in each window that are not padding. */
function poolReference(
  x: ReferenceArray,
  shape: readonly number[],
  { kernel, stride, padBefore, dilation }: PoolAttributes,
  summary: (values: readonly number[]) => number,
): ReferenceArray {
  const strides = stridesOf(x.shape);
  return generate(shape, ([n, channel, ...window]) => {
    const values: number[] = [];
    forEachIndex(kernel, (element) => {
      const place = element.map(
        (i, axis) =>
          i * (dilation[axis] as number) + (window[axis] as number) * (stride[axis] as number) - (padBefore[axis] as number),
      );
      if (place.every((i, axis) => i >= 0 && i < (x.shape[2 + axis] as number)))
        values.push(x.data[offsetOf([n as number, channel as number, ...place], strides)] as number);
    });
    return summary(values);
  });
}

const poolExamples = (make: ExampleMaker, dilation: readonly [number, number]) => [
  {
    inputs: [make.float(["n", 2, 7])],
    attributes: { kernel: [3], stride: [3], padBefore: [0], padAfter: [0], dilation: [dilation[0]] },
  },
  {
    inputs: [make.float(["n", "c", "w"])],
    attributes: { kernel: [3], stride: [2], padBefore: [1], padAfter: [0], dilation: [dilation[1]] },
    atLeast: 4,
  },
  {
    inputs: [make.float(["n", 2, "h", "w"])],
    attributes: { kernel: [3, 2], stride: [2, 1], padBefore: [1, 0], padAfter: [1, 1], dilation },
    atLeast: 3,
  },
];

export interface PoolOptions extends Omit<WindowOptions, "dilation"> {
  /** Size of the windows; one number: along every spatial axis. */
  readonly kernel: number | readonly number[];
  /**
   * Whether a last window may reach past the padding, as long as it begins before it: sizes are rounded up then. What lies beyond counts
   * for nothing. Needs spatial sizes that are numbers. Default false.
   */
  readonly ceilMode?: boolean;
}

export interface MaxPoolOptions extends PoolOptions {
  /** Steps between the elements of a window. Default 1. */
  readonly dilation?: number | readonly number[];
}

export interface AvgPoolOptions extends PoolOptions {
  /** Whether padding counts as zeros in the mean; otherwise only real elements count. Default true. */
  readonly countPadding?: boolean;
}

/**
 * The largest element of each window: x [batch, channels, size] →
 * [batch, channels, ⌊(size + padding − dilation · (kernel − 1) − 1) / stride⌋ + 1]. The stride is by default the kernel.
 */
export const maxPool1d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool("maxPool1d", 1, x, options);

/** The same over two spatial axes: x [batch, channels, height, width]. */
export const maxPool2d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool("maxPool2d", 2, x, options);

/** The same over three spatial axes: x [batch, channels, depth, height, width]. */
export const maxPool3d = (x: Tensor, options: MaxPoolOptions): Tensor => maxPool("maxPool3d", 3, x, options);

const maxPool = (name: string, axes: number, x: Tensor, options: MaxPoolOptions): Tensor =>
  maxPoolOp(x, roundedUp(name, x, poolAttributes(name, axes, x, options), options));

/** The mean of each window; sizes as in `maxPool1d`. */
export const avgPool1d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool("avgPool1d", 1, x, options);

/** The same over two spatial axes: x [batch, channels, height, width]. */
export const avgPool2d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool("avgPool2d", 2, x, options);

/** The same over three spatial axes: x [batch, channels, depth, height, width]. */
export const avgPool3d = (x: Tensor, options: AvgPoolOptions): Tensor => avgPool("avgPool3d", 3, x, options);

function avgPool(name: string, axes: number, x: Tensor, { countPadding = true, ...options }: AvgPoolOptions): Tensor {
  const attributes = poolAttributes(name, axes, x, options);
  if (!options.ceilMode || !countPadding) return avgPoolOp(x, { ...roundedUp(name, x, attributes, options), countPadding });
  // Padding counts as zeros, what windows see beyond it does not: so the padding becomes part of x.
  const { padBefore, padAfter } = attributes;
  const padded = pad(x, [0, 0, ...padBefore.map((before, axis) => [before, padAfter[axis] as number] as const)]);
  const none = padBefore.map(() => 0);
  const within = roundedUp(name, x, attributes, options);
  const beyond = within.padAfter.map((after, axis) => after - (padAfter[axis] as number));
  return avgPoolOp(padded, { ...attributes, padBefore: none, padAfter: beyond, countPadding: false });
}

/** With as much padding more as windows need whose number is rounded up. */
function roundedUp(name: string, x: Tensor, attributes: PoolAttributes, { ceilMode = false }: PoolOptions): PoolAttributes {
  if (!ceilMode) return attributes;
  const { kernel, stride, padBefore, padAfter, dilation } = attributes;
  const padded = padAfter.map((after, axis) => {
    const size = x.shape[2 + axis] as Dim;
    if (!isStatic(size))
      throw new ShapeError(`${name}: ceilMode needs spatial sizes that are numbers, but ${x.describe()} was given.`);
    const [step, before] = [stride[axis] as number, padBefore[axis] as number];
    const span = ((kernel[axis] as number) - 1) * (dilation[axis] as number) + 1;
    const windows = Math.ceil((size + before + after - span) / step) + 1;
    // The last one must begin inside.
    const last = (windows - 1) * step >= size + before ? windows - 2 : windows - 1;
    return Math.max(after, last * step + span - size - before);
  });
  return { ...attributes, padAfter: padded };
}

function poolAttributes(name: string, axes: number, x: Tensor, options: MaxPoolOptions): PoolAttributes {
  checkRank(name, axes, x);
  const kernel = perAxis(`${name}: the kernel`, options.kernel, axes, 1);
  const windows = normalizeWindows(name, axes, options, kernel);
  for (const [axis, extent] of kernel.entries()) {
    const most = Math.max(windows.padBefore[axis] as number, windows.padAfter[axis] as number);
    if (2 * most > extent)
      throw new ArgumentError(
        `${name}: a padding of ${most} is more than half of the kernel, ${extent}: a window could lie in the padding alone.`,
      );
  }
  return { kernel, ...windows };
}
