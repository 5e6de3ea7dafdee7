/** Convolutions with weights of their own. */

import { type ConvOptions, conv2d } from "../graph/ops/conv.js";
import type { Tensor } from "../graph/tensor.js";
import { type Initializer, Parameter } from "../graph/variable.js";
import { normal, zeros } from "./initializers.js";
import { Module } from "./module.js";
import { mapThrough } from "./parametrization.js";

export interface Conv2dOptions extends ConvOptions {
  readonly kernel: number | readonly [height: number, width: number];
  /** Default true. */
  readonly bias?: boolean;
  /** Of the weight; the bias begins at 0. Default: normal with standard deviation 0.02. */
  readonly initializer?: Initializer;
}

/** A convolution over height and width. The weight is [out, in / groups, ...kernel], as checkpoints hold it. */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  /** Strides, padding, groups, dilations. */
  readonly options: ConvOptions;

  constructor(inputChannels: number, outputChannels: number, options: Conv2dOptions) {
    super();
    const { kernel, bias = true, initializer = normal(0.02), ...convolution } = options;
    const [height, width] = typeof kernel === "number" ? [kernel, kernel] : kernel;
    this.weight = new Parameter([outputChannels, inputChannels / (convolution.groups ?? 1), height, width], { initializer });
    this.bias = bias ? new Parameter([outputChannels], { initializer: zeros }) : undefined;
    this.options = convolution;
  }

  /** x [batch, in, height, width] → [batch, out, height', width'] */
  forward(x: Tensor): Tensor {
    return mapThrough(this, x, (input, { weight, bias }) => conv2d(input, weight, bias, this.options));
  }
}
