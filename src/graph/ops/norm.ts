/**
 * Normalization over the last axis. The operators give the factor by which they scaled each row as a second output, because
 * gradients need it; what was normalized is computed once more in the backward pass, so that only x has to be kept.
 */

import { ArgumentError, ShapeError } from "../../errors.js";
import { type Dim, divideExactly, formatShape, mulDims, type Shape, sameDim } from "../dim.js";
import { type DType, onnxDType } from "../dtype.js";
import type { OnnxValue } from "../onnx-face.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { add, mul, reciprocal, sqrt, sub } from "./arithmetic.js";
import { unbroadcast } from "./broadcasting.js";
import { isZero } from "./elementwise.js";
import { divideByCount, mean, variance } from "./reduce.js";
import { fold } from "./reduction.js";
import { map, zip } from "./reference-math.js";
import { reshape } from "./shape.js";

export interface NormOptions {
  /** Added inside the root, to the variance or the mean square. Default 1e-5. */
  readonly epsilon?: number;
}

interface NormAttributes {
  readonly epsilon: number;
}

const overRow = { axes: [-1], keepDims: true };

/** Shapes of the normalized x and of the factor of each row: [..., size] and [..., 1]. */
function normShapes(x: Tensor, ...parameters: readonly (Tensor | undefined)[]): readonly Shape[] {
  const size = x.shape.at(-1);
  if (size === undefined) throw new ShapeError("a scalar has no axis to normalize");
  for (const parameter of parameters)
    if (parameter && !(parameter.rank === 1 && sameDim(parameter.shape[0] as Dim, size)))
      throw new ShapeError(
        `a weight or bias for ${formatShape(x.shape)} must have the shape [${String(size)}], but one has ${formatShape(parameter.shape)}`,
      );
  return [x.shape, x.shape.with(-1, 1)];
}

/**
 * How far a row is stretched in a direction that has no effect, with the share of the factor's own gradient:
 * ∂factor/∂x = −factor² · normalized / size.
 */
const withFactor = (stretch: Tensor, x: Tensor, factor: Tensor, dFactor: Tensor): Tensor =>
  isZero(dFactor) ? stretch : add(stretch, divideByCount(mul(dFactor, factor), [x.size(-1)]));

/** The mean of each row, in float64. */
function rowMean(x: ReferenceArray): ReferenceArray {
  const axis = x.shape.length - 1;
  const total = fold(x, { axes: [axis], keepDims: true }, 0, (sum, value) => sum + value);
  return map(total, (sum) => sum / (x.shape[axis] as number));
}

const one: ReferenceArray = { shape: [], data: Float64Array.of(1) };
const zero: ReferenceArray = { shape: [], data: Float64Array.of(0) };

/** [(x − mean) · factor · weight + bias, factor] with factor = 1 / √(variance + ε) of each row. */
const layerNormOp = defineOp<NormAttributes>({
  name: "layerNorm",
  arity: [1, 2, 3],
  accepts: "float",
  outputs: 2,
  dtype: ([x]) => [x.dtype, x.dtype],
  shape: ([x, weight, bias]) => normShapes(x, weight, bias),
  vjp({ inputs: [x, weight, bias], outputs, gradients: [dy, dFactor], attributes }) {
    const [normalized, factor] = (weight ? layerNormOp(x, attributes) : outputs) as readonly [Tensor, Tensor];
    const dNormalized = weight ? mul(dy, weight) : dy;
    // Moving a row along (1, ..., 1) or along itself has no effect (but for ε), so those parts of the gradient are taken out.
    const shift = mean(dNormalized, overRow);
    const stretch = withFactor(mean(mul(dNormalized, normalized), overRow), x, factor, dFactor);
    const dx = mul(factor, sub(sub(dNormalized, shift), mul(normalized, stretch)));
    return [dx, weight && unbroadcast(mul(dy, normalized), weight.shape), bias && unbroadcast(dy, bias.shape)];
  },
  onnx(node, [x, weight, bias], { inputs, attributes: { epsilon }, used }) {
    const { dtype, shape } = inputs[0] as Tensor;
    const scale = weight ?? node("Expand", [node.scalar(dtype, 1), node.dims(shape.slice(-1))]);
    const operands = bias ? [x, scale, bias] : [x, scale];
    const attributes = { axis: -1, epsilon: { float: epsilon } };
    if (!used(1)) return node("LayerNormalization", operands, attributes);
    const [y, , factor] = node.many("LayerNormalization", operands, 3, attributes);
    // ONNX computes the factor in float32 whatever x is.
    return [y as OnnxValue, dtype === "float32" ? (factor as OnnxValue) : node("Cast", [factor], { to: onnxDType(dtype) })];
  },
  reference([x, weight, bias], { epsilon }) {
    const centered = zip(x.shape, [x, rowMean(x)], (value = 0, center = 0) => value - center);
    const factor = map(rowMean(map(centered, (value) => value * value)), (variance) => 1 / Math.sqrt(variance + epsilon));
    const y = zip(
      x.shape,
      [centered, factor, weight ?? one, bias ?? zero],
      (value = 0, by = 0, w = 0, b = 0) => value * by * w + b,
    );
    return [y, factor];
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.float(["b"]), make.float(["b"])], attributes: { epsilon: 0.1 }, empty: false },
    { inputs: [make.float(["a", "c", "b"]), make.float(["b"])], attributes: { epsilon: 0.5 }, empty: false },
    { inputs: [make.float(["a", 7])], attributes: { epsilon: 1e-5 } },
  ],
});

/**
 * Layer normalization (Ba, Kiros & Hinton 2016): (x − mean) / √(variance + ε) · weight + bias over the last axis, with the biased
 * variance. x [..., size], weight and bias [size] → [..., size]. Throws a ShapeError when the sizes do not fit.
 */
export function layerNorm(x: Tensor, weight?: Tensor, bias?: Tensor, { epsilon = 1e-5 }: NormOptions = {}): Tensor {
  if (!weight) {
    const [y] = layerNormOp(x, { epsilon });
    return bias ? add(y as Tensor, bias) : (y as Tensor);
  }
  return (bias ? layerNormOp(x, weight, bias, { epsilon }) : layerNormOp(x, weight, { epsilon }))[0] as Tensor;
}

/** [x · factor · weight, factor] with factor = 1 / √(mean(x²) + ε) of each row. */
const rmsNormOp = defineOp<NormAttributes>({
  name: "rmsNorm",
  arity: [1, 2],
  accepts: "float",
  outputs: 2,
  dtype: ([x]) => [x.dtype, x.dtype],
  shape: ([x, weight]) => normShapes(x, weight),
  vjp({ inputs: [x, weight], outputs: [y, factor], gradients: [dy, dFactor] }) {
    const normalized = weight ? mul(x, factor) : y;
    const dNormalized = weight ? mul(dy, weight) : dy;
    const stretch = withFactor(mean(mul(dNormalized, normalized), overRow), x, factor, dFactor);
    const dx = mul(factor, sub(dNormalized, mul(normalized, stretch)));
    return [dx, weight && unbroadcast(mul(dy, normalized), weight.shape)];
  },
  // In this form ONNX Runtime finds its SimplifiedLayerNormalization as long as nobody asks for the factor.
  onnx(node, [given, weight], { inputs, attributes: { epsilon }, used }) {
    const { dtype: own, rank } = inputs[0] as Tensor;
    // Squares of float16 numbers above 255 are infinite.
    const dtype = own === "float16" || own === "bfloat16" ? "float32" : own;
    const to = (target: DType, value: OnnxValue) => (dtype === own ? value : node("Cast", [value], { to: onnxDType(target) }));
    const x = to(dtype, given);
    const squared = node("Pow", [x, node.scalar(dtype, 2)]);
    // Counted from the start: ONNX Runtime misreads −1 where x is empty.
    const meanSquare = node("ReduceMean", [squared, node.int64s([rank - 1])], { keepdims: 1 });
    const root = node("Sqrt", [node("Add", [meanSquare, node.scalar(dtype, epsilon)])]);
    const normalized = to(own, node("Div", [x, root]));
    const y = weight ? node("Mul", [normalized, weight]) : normalized;
    return used(1) ? [y, to(own, node("Reciprocal", [root]))] : y;
  },
  reference([x, weight], { epsilon }) {
    const factor = map(rowMean(map(x, (value) => value * value)), (square) => 1 / Math.sqrt(square + epsilon));
    return [zip(x.shape, [x, factor, weight ?? one], (value = 0, by = 0, w = 0) => value * by * w), factor];
  },
  examples: (make) => [
    { inputs: [make.float(["a", "b"]), make.float(["b"])], attributes: { epsilon: 0.1 }, empty: false },
    { inputs: [make.float(["a", "c", "b"]), make.float(["b"])], attributes: { epsilon: 0.5 }, empty: false },
    { inputs: [make.float(["a", 7])], attributes: { epsilon: 1e-5 } },
  ],
});

/**
 * Root mean square normalization (Zhang & Sennrich 2019): x / √(mean(x²) + ε) · weight over the last axis.
 * x [..., size], weight [size] → [..., size]. Throws a ShapeError when the sizes do not fit.
 */
export const rmsNorm = (x: Tensor, weight?: Tensor, { epsilon = 1e-5 }: NormOptions = {}): Tensor =>
  (weight ? rmsNormOp(x, weight, { epsilon }) : rmsNormOp(x, { epsilon }))[0] as Tensor;

/**
 * Group normalization (Wu & He 2018): channels are normalized together in `groups` equal parts, with all their positions.
 * x [batch, channels, ...], weight and bias [channels] → the shape of x. Throws an ArgumentError when the groups do not divide
 * the channels.
 */
export function groupNorm(
  x: Tensor,
  groups: number,
  weight?: Tensor,
  bias?: Tensor,
  { epsilon = 1e-5 }: NormOptions = {},
): Tensor {
  const [batch, channels, ...positions] = x.shape;
  if (batch === undefined || channels === undefined)
    throw new ShapeError(`groupNorm: ${x.describe()} must be [batch, channels, ...].`);
  const size = groups > 0 ? divideExactly(channels, groups) : undefined;
  if (size === undefined)
    throw new ArgumentError(`groupNorm: ${String(channels)} channels cannot be divided into ${groups} equal groups.`);
  const normalized = layerNorm(reshape(x, [batch, groups, mulDims(size, ...positions)]), undefined, undefined, { epsilon });
  return perChannel(reshape(normalized, x.shape), weight, bias);
}

/**
 * Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016): each channel of each example over its positions. x [batch, channels,
 * ...spatial], weight and bias [channels] → the shape of x.
 */
export function instanceNorm(x: Tensor, weight?: Tensor, bias?: Tensor, { epsilon = 1e-5 }: NormOptions = {}): Tensor {
  const [batch, channels, ...positions] = x.shape;
  if (batch === undefined || channels === undefined || positions.length === 0)
    throw new ShapeError(`instanceNorm: ${x.describe()} must be [batch, channels, ...spatial].`);
  const normalized = layerNorm(reshape(x, [batch, channels, mulDims(...positions)]), undefined, undefined, { epsilon });
  return perChannel(reshape(normalized, x.shape), weight, bias);
}

/**
 * Batch normalization with given statistics (Ioffe & Szegedy 2015): (x − mean) / √(variance + ε) · weight + bias. x [batch, channels,
 * ...], all others [channels] → the shape of x. Statistics of a batch: `channelStatistics`.
 */
export function batchNorm(
  x: Tensor,
  { mean: center, variance }: ChannelStatistics,
  weight?: Tensor,
  bias?: Tensor,
  { epsilon = 1e-5 }: NormOptions = {},
): Tensor {
  const factor = reciprocal(sqrt(add(variance, epsilon)));
  return perChannel(sub(x, overChannels(center, x)), weight ? mul(factor, weight) : factor, bias);
}

export interface ChannelStatistics {
  /** [channels] */
  readonly mean: Tensor;
  /** [channels], biased: divided by the number of elements. */
  readonly variance: Tensor;
}

/** Mean and variance of each channel of x [batch, channels, ...] over everything else. */
export function channelStatistics(x: Tensor): ChannelStatistics {
  if (x.rank < 2) throw new ShapeError(`channelStatistics: ${x.describe()} must be [batch, channels, ...].`);
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  return { mean: mean(x, { axes }), variance: variance(x, { axes }) };
}

/** A parameter [channels] so that it broadcasts with x [batch, channels, ...]. */
function overChannels(parameter: Tensor, x: Tensor): Tensor {
  const channels = x.shape[1];
  if (channels === undefined || parameter.rank !== 1 || !sameDim(parameter.shape[0] as Dim, channels))
    throw new ShapeError(
      `a parameter of the channels of ${formatShape(x.shape)} must have the shape [${String(channels)}], but one has ${formatShape(parameter.shape)}`,
    );
  return reshape(parameter, [channels, ...x.shape.slice(2).map(() => 1)]);
}

function perChannel(x: Tensor, weight: Tensor | undefined, bias: Tensor | undefined): Tensor {
  const scaled = weight ? mul(x, overChannels(weight, x)) : x;
  return bias ? add(scaled, overChannels(bias, x)) : scaled;
}
