/** Operators whose conventions matter, and their gradients, against PyTorch (`reference/operators.py`). */

import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { type Build, describeGolden } from "../testing/describe-golden.js";
import { gelu, geluTanh, silu } from "./activation.js";
import { cos, mul, sin, softplus } from "./arithmetic.js";
import { cast } from "./cast.js";
import { type ConvTransposeOptions, conv1d, conv2d, convTranspose1d, convTranspose2d } from "./conv.js";
import { cumulativeSum } from "./cumulative.js";
import { type CrossEntropyOptions, crossEntropy } from "./loss.js";
import { groupNorm, layerNorm, type NormOptions, rmsNorm } from "./norm.js";
import { type AvgPoolOptions, avgPool1d, avgPool2d, type MaxPoolOptions, maxPool1d, maxPool2d } from "./pool.js";
import { rope } from "./rope.js";
import { flatten, reshape } from "./shape.js";
import { topK } from "./topk.js";

type Convolution = (x: Tensor, weight: Tensor, bias: Tensor | undefined, options: ConvTransposeOptions) => Tensor;

const convolution =
  (convolve: Convolution): Build =>
  ([x, weight, bias], options) => [convolve(x as Tensor, weight as Tensor, bias, options as ConvTransposeOptions)];

const pool =
  (pooling: (x: Tensor, options: MaxPoolOptions & AvgPoolOptions) => Tensor): Build =>
  ([x], options) => [pooling(x as Tensor, options as unknown as MaxPoolOptions & AvgPoolOptions)];

const builds: Readonly<Record<string, Build>> = {
  conv1d: convolution(conv1d),
  conv2d: convolution(conv2d),
  convTranspose1d: convolution(convTranspose1d),
  convTranspose2d: convolution(convTranspose2d),
  maxPool1d: pool(maxPool1d),
  maxPool2d: pool(maxPool2d),
  avgPool1d: pool(avgPool1d),
  avgPool2d: pool(avgPool2d),
  layerNorm: ([x, weight, bias], options) => [layerNorm(x as Tensor, weight, bias, options as NormOptions)],
  rmsNorm: ([x, weight], options) => [rmsNorm(x as Tensor, weight, options as NormOptions)],
  groupNorm: ([x, weight, bias], options) => [
    groupNorm(x as Tensor, options.groups as number, weight, bias, options as NormOptions),
  ],
  gelu: ([x], { approximate }) => [(approximate === "tanh" ? geluTanh : gelu)(x as Tensor)],
  silu: ([x]) => [silu(x as Tensor)],
  softplus: ([x]) => [softplus(x as Tensor)],
  crossEntropy([logits, labels], options) {
    const loss = crossEntropy(logits as Tensor, labels as Tensor, options as CrossEntropyOptions);
    return [loss.rank === 0 ? loss : flatten(loss)]; // PyTorch was given rows
  },
  rope([q, positions], { theta, headDim }) {
    const size = headDim as number;
    const frequencies = constant(
      Array.from({ length: size / 2 }, (_, i) => (theta as number) ** ((-2 * i) / size)),
      "float64",
    );
    const [batch, seq] = (positions as Tensor).shape as [number, number];
    const angles = mul(reshape(cast(positions as Tensor, "float64"), [batch, 1, seq, 1]), frequencies);
    return [rope(q as Tensor, cos(angles), sin(angles))];
  },
  cumsum: ([x], { axis }) => [cumulativeSum(x as Tensor, axis as number)],
  topK([x], { k, axis, largest }) {
    const { values, indices } = topK(x as Tensor, k as number, axis as number, { largest: largest as boolean });
    return [values, cast(indices, "int32")];
  },
};

describeGolden("operators", builds);
