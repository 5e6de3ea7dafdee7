/** Operators on images against PyTorch (`reference/operators_images.py`). */

import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { stopGradient } from "../custom-gradient.js";
import type { Dim } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { type Build, describeGolden } from "../testing/describe-golden.js";
import { adaptiveAvgPool, adaptiveMaxPool } from "./adaptive-pool.js";
import { conv3d, convTranspose3d } from "./conv.js";
import { type GridSampleOptions, gridSample } from "./grid-sample.js";
import { batchNorm, channelStatistics, instanceNorm } from "./norm.js";
import { avgPool2d, avgPool3d, maxPool2d, maxPool3d, type PoolOptions } from "./pool.js";
import { type ResizeOptions, resize } from "./resize.js";
import { fold, type UnfoldOptions, unfold } from "./unfold.js";

const pool =
  (operator: (x: Tensor, options: PoolOptions) => Tensor): Build =>
  ([x], options) => [operator(x as Tensor, options as unknown as PoolOptions)];

const adaptive =
  (operator: (x: Tensor, size: readonly number[]) => Tensor): Build =>
  ([x], { size }) => [operator(x as Tensor, size as readonly number[])];

const builds: Readonly<Record<string, Build>> = {
  resize: ([x], options) => [resize(x as Tensor, options as ResizeOptions)],
  gridSample: ([x, grid], options) => [
    gridSample(
      x as Tensor,
      options.mode === "bilinear" ? (grid as Tensor) : stopGradient(grid as Tensor),
      options as GridSampleOptions,
    ),
  ],
  unfold: ([x], options) => [unfold(x as Tensor, options as unknown as UnfoldOptions)],
  fold: ([columns], { size, ...options }) => [
    fold(columns as Tensor, size as readonly Dim[], options as unknown as UnfoldOptions),
  ],
  conv3d: ([x, weight, bias], options) => [conv3d(x as Tensor, weight as Tensor, bias, options)],
  convTranspose3d: ([x, weight, bias], options) => [convTranspose3d(x as Tensor, weight as Tensor, bias, options)],
  adaptiveAvgPool: adaptive(adaptiveAvgPool),
  adaptiveMaxPool: adaptive(adaptiveMaxPool),
  maxPool2d: pool(maxPool2d),
  avgPool2d: pool(avgPool2d),
  maxPool3d: pool(maxPool3d),
  avgPool3d: pool(avgPool3d),
  batchNorm: ([x, weight, bias], options) => [batchNorm(x as Tensor, channelStatistics(x as Tensor), weight, bias, options)],
  instanceNorm: ([x, weight, bias], options) => [instanceNorm(x as Tensor, weight, bias, options)],
};

describeGolden("operators-images", builds, { engine: await onnxRuntimeNode({ threads: 1 }) });
