/**
 * The operators behind `conv1d` and its relatives: convolution over any number of spatial axes and its transpose. With the
 * gradient of the weight, each is the gradient of the others (Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep
 * learning", chapter 4). As everywhere in deep learning "convolution" is cross-correlation: the kernel is not flipped.
 */

import { ShapeError } from "../../errors.js";
import {
  addDims,
  type Dim,
  divideExactly,
  formatShape,
  isStatic,
  mulDims,
  productOf,
  type Shape,
  sameDim,
  subDims,
} from "../dim.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { onnxWindows, unfold, type Windows, windowCounts, windowSpan, windowsFit } from "./conv-windows.js";
import { matmul } from "./matmul.js";
import { sum } from "./reduce.js";
import { forEachIndex, offsetOf, sizeOf, stridesOf } from "./reference-math.js";
import { reshape } from "./shape.js";

export interface ConvAttributes extends Windows {
  /** Channels fall into this many groups that do not see each other. */
  readonly groups: number;
}

export interface ConvTransposeAttributes extends ConvAttributes {
  /** Spatial sizes of the result: those from which the convolution makes the sizes of the operand. */
  readonly size: Shape;
}

const convOp = defineOp<ConvAttributes>({
  name: "conv",
  arity: 2,
  accepts: "float",
  shape([x, weight], { groups, ...windows }) {
    checkChannels(x, weight, mulDims(weight.shape[1] as Dim, groups));
    if (divideExactly(weight.shape[0] as Dim, groups) === undefined)
      throw new ShapeError(`${String(weight.shape[0])} output channels do not divide into ${groups} groups`);
    return [x.shape[0] as Dim, weight.shape[0] as Dim, ...windowCounts(x.shape.slice(2), weight.shape.slice(2), windows)];
  },
  requires: ([x, weight], windows) => windowsFit(x.shape.slice(2), weight.shape.slice(2), windows),
  vjp: ({ inputs: [x, weight], gradients: [dy], attributes }) => [
    convTranspose(dy, weight, { ...attributes, size: x.shape.slice(2) }),
    convWeightGradient(x, dy, weight.shape.slice(2), attributes),
  ],
  onnx: (node, [x, weight], { attributes: { groups, ...windows } }) =>
    node("Conv", [x, weight], { group: groups, ...onnxWindows(windows) }),
  reference([x, weight], attributes, { outputs: [output] }) {
    const data = new Float64Array(sizeOf(output?.shape ?? []));
    forEachPair(x, weight, output?.shape ?? [], attributes, (xAt, weightAt, yAt) => {
      data[yAt] = (data[yAt] as number) + (x.data[xAt] as number) * (weight.data[weightAt] as number);
    });
    return { shape: output?.shape ?? [], data };
  },
  examples: (make) => [
    {
      inputs: [make.float(["n", 3, "w"]), make.float([2, 3, 3])],
      attributes: { stride: [1], padBefore: [0], padAfter: [0], dilation: [1], groups: 1 },
      atLeast: 3,
    },
    {
      inputs: [make.float(["n", 4, "w"]), make.float([6, 2, 3])],
      attributes: { stride: [2], padBefore: [2], padAfter: [1], dilation: [2], groups: 2 },
      atLeast: 2,
    },
    {
      inputs: [make.float(["n", 3, 8]), make.float([3, 1, 4])],
      attributes: { stride: [3], padBefore: [3], padAfter: [0], dilation: [1], groups: 3 },
      empty: false,
    },
    {
      inputs: [make.float(["n", 2, "h", "w"]), make.float([3, 2, 3, 2])],
      attributes: {
        stride: [2, 3],
        padBefore: [1, 0],
        padAfter: [1, 2],
        dilation: [1, 2],
        groups: 1,
      },
      atLeast: 1,
    },
    {
      inputs: [make.float(["n", "c", 4, 5]), make.float(["o", "c", 2, 2])],
      attributes: {
        stride: [2, 2],
        padBefore: [0, 0],
        padAfter: [0, 0],
        dilation: [1, 1],
        groups: 1,
      },
      empty: false,
    },
    {
      inputs: [make.float(["n", 2, "d", 3, 4]), make.float([2, 2, 2, 3, 2])],
      attributes: {
        stride: [1, 2, 1],
        padBefore: [1, 0, 0],
        padAfter: [0, 0, 1],
        dilation: [1, 1, 2],
        groups: 1,
      },
      atLeast: 1,
    },
  ],
});

const convTransposeOp = defineOp<ConvTransposeAttributes>({
  name: "convTranspose",
  arity: 2,
  accepts: "float",
  shape([x, weight], { groups, size }) {
    checkChannels(x, weight, weight.shape[0] as Dim);
    if (divideExactly(weight.shape[0] as Dim, groups) === undefined)
      throw new ShapeError(`${String(weight.shape[0])} input channels do not divide into ${groups} groups`);
    return [x.shape[0] as Dim, mulDims(weight.shape[1] as Dim, groups), ...size];
  },
  requires: ([x, weight], { size, ...windows }) =>
    sizeBeyond(x.shape, weight.shape, size, windows).flatMap((extra, axis) =>
      [extra, subDims((windows.stride[axis] as number) - 1, extra)].map((nonNegative) => ({
        nonNegative,
        otherwise: `spatial axis ${axis} of the result cannot have size ${String(size[axis])}: a convolution with these windows does not make ${String(x.shape[2 + axis])} of it`,
      })),
    ),
  vjp: ({ inputs: [x, weight], gradients: [dy], attributes: { size: _, ...attributes } }) => [
    conv(dy, weight, attributes),
    convWeightGradient(dy, x, weight.shape.slice(2), attributes),
  ],
  onnx(node, [x, weight], { inputs, attributes: { groups, size, ...windows } }) {
    const [{ shape: xShape }, { shape: weightShape }] = inputs as readonly [Tensor, Tensor];
    const extra = sizeBeyond(xShape, weightShape, size, windows);
    const known = extra.every(isStatic);
    // Where it depends on sizes: as much as it can be, and the result is cut to its size.
    const largest = known ? extra : windows.stride.map((stride) => stride - 1);
    const y = node("ConvTranspose", [x, weight], { group: groups, output_padding: largest, ...onnxWindows(windows) });
    if (known) return y;
    const axes = size.map((_, axis) => 2 + axis);
    return node("Slice", [y, node.int64s(axes.map(() => 0)), node.dims(size), node.int64s(axes)]);
  },
  reference([x, weight], attributes, { outputs: [output] }) {
    const y: ReferenceArray = { shape: output?.shape ?? [], data: new Float64Array(sizeOf(output?.shape ?? [])) };
    forEachPair(y, weight, x.shape, attributes, (yAt, weightAt, xAt) => {
      y.data[yAt] = (y.data[yAt] as number) + (x.data[xAt] as number) * (weight.data[weightAt] as number);
    });
    return y;
  },
  examples: (make) => [
    {
      inputs: [make.float(["n", 3, 5]), make.float([3, 2, 3])],
      attributes: { stride: [1], padBefore: [0], padAfter: [0], dilation: [1], groups: 1, size: [7] },
      // ONNX Runtime cannot do it for nothing on WebGPU.
      empty: false,
    },
    {
      inputs: [make.float(["n", 4, "w"]), make.float([4, 3, 3])],
      attributes: {
        stride: [3],
        padBefore: [1],
        padAfter: [2],
        dilation: [2],
        groups: 2,
        size: [addDims(mulDims(make.dim("w"), 3), 1)],
      },
      atLeast: 1,
    },
    {
      inputs: [make.float(["n", "c", "h", 4]), make.float(["c", 2, 3, 2])],
      attributes: {
        stride: [2, 3],
        padBefore: [1, 0],
        padAfter: [0, 1],
        dilation: [1, 2],
        groups: 1,
        size: [mulDims(make.dim("h"), 2), 12],
      },
      atLeast: 1,
    },
  ],
});

/** x [batch, channels, ...spatial], weight [outChannels, channels / groups, ...kernel] → [batch, outChannels, ...windows] */
export function conv(x: Tensor, weight: Tensor, attributes: ConvAttributes): Tensor {
  return convOp(x, weight, attributes);
}

/** x [batch, channels, ...windows], weight [channels, outChannels / groups, ...kernel] → [batch, outChannels, ...size] */
export function convTranspose(x: Tensor, weight: Tensor, attributes: ConvTransposeAttributes): Tensor {
  return convTransposeOp(x, weight, attributes);
}

function checkChannels(x: Tensor, weight: Tensor, channels: Dim): void {
  if (weight.rank !== x.rank || x.rank < 3)
    throw new ShapeError(
      `x ${formatShape(x.shape)} and the weight ${formatShape(weight.shape)} must both have two axes and one for each spatial axis`,
    );
  if (!sameDim(x.shape[1] as Dim, channels))
    throw new ShapeError(`x has ${String(x.shape[1])} channels, but the weight is for ${String(channels)}`);
}

/** By how much each spatial size exceeds the smallest of which the convolution makes that of x. */
export function sizeBeyond(
  x: Shape,
  weight: Shape,
  size: Shape,
  { stride, padBefore, padAfter, dilation }: Windows,
): readonly Dim[] {
  return size.map((wanted, axis) => {
    const lastWindow = mulDims(subDims(x[2 + axis] as Dim, 1), stride[axis] as number);
    const covered = addDims(lastWindow, windowSpan(weight[2 + axis] as Dim, dilation[axis] as number));
    return subDims(addDims(wanted, padBefore[axis] as number, padAfter[axis] as number), covered);
  });
}

/**
 * The gradient of the weight of a convolution from x to y, in the shape of the weight: each of its elements meets dy with what
 * all windows of x saw there. x [batch, channels, ...], dy [batch, outChannels, ...windows]. (A convolution with batch and channels
 * exchanged gives the same, but took 4 times as long for 384 channels, 1,500 positions and a kernel of 3 on ONNX Runtime's CPU.)
 */
function convWeightGradient(x: Tensor, dy: Tensor, kernel: Shape, { groups, ...windows }: ConvAttributes): Tensor {
  const [batch, channels] = x.shape as readonly [Dim, Dim, ...Dim[]];
  const outChannels = dy.shape[1] as Dim;
  const [groupChannels, groupOut] = [divideExactly(channels, groups) as Dim, divideExactly(outChannels, groups) as Dim];
  const positions = productOf(dy.shape.slice(2));
  const seen = reshape(unfold(x, kernel, windows), [batch, groups, mulDims(groupChannels, ...kernel), positions]);
  const products = matmul(reshape(dy, [batch, groups, groupOut, positions]), seen, { transposeB: true });
  return reshape(sum(products, { axes: [0] }), [outChannels, groupChannels, ...kernel]);
}

/**
 * Calls `visit` with the positions of x, weight and y that meet in a convolution from x to y: y += x · weight. Its transpose
 * goes the other way through the same pairs.
 */
function forEachPair(
  x: { readonly shape: readonly number[] },
  weight: { readonly shape: readonly number[] },
  yShape: readonly number[],
  { stride, padBefore, dilation, groups }: ConvAttributes,
  visit: (x: number, weight: number, y: number) => void,
): void {
  const [xStrides, weightStrides, yStrides] = [stridesOf(x.shape), stridesOf(weight.shape), stridesOf(yShape)];
  const [batch, ...windows] = [yShape[0] as number, ...yShape.slice(2)];
  const [outChannels, groupChannels, ...kernel] = weight.shape as [number, number, ...number[]];
  const groupOut = outChannels / groups;
  forEachIndex([batch, outChannels, groupChannels, ...windows, ...kernel], (index) => {
    const [n, out, channel, ...rest] = index as [number, number, number, ...number[]];
    const [window, element] = [rest.slice(0, windows.length), rest.slice(windows.length)];
    const place = window.map(
      (p, axis) =>
        p * (stride[axis] as number) + (element[axis] as number) * (dilation[axis] as number) - (padBefore[axis] as number),
    );
    if (place.some((i, axis) => i < 0 || i >= (x.shape[2 + axis] as number))) return;
    const source = Math.floor(out / groupOut) * groupChannels + channel;
    visit(
      offsetOf([n, source, ...place], xStrides),
      offsetOf([out, channel, ...element], weightStrides),
      offsetOf([n, out, ...window], yStrides),
    );
  });
}
