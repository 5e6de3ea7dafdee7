/** Linear maps and lookup tables. */

import { add } from "../graph/ops/arithmetic.js";
import { gather } from "../graph/ops/indexing.js";
import { matmul } from "../graph/ops/matmul.js";
import type { Tensor } from "../graph/tensor.js";
import { type Initializer, Parameter } from "../graph/variable.js";
import { normal, zeros } from "./initializers.js";
import { Module } from "./module.js";
import { lookUpThrough, mapThrough } from "./parametrization.js";

export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Of the weight; the bias begins at 0. Default: normal with standard deviation 0.02. */
  readonly initializer?: Initializer;
}

/** y = x·Wᵀ + b. The weight is [out, in], as checkpoints hold it. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;

  constructor(inputSize: number, outputSize: number, { bias = true, initializer = normal(0.02) }: LinearOptions = {}) {
    super();
    this.weight = new Parameter([outputSize, inputSize], { initializer });
    this.bias = bias ? new Parameter([outputSize], { initializer: zeros }) : undefined;
  }

  /** x [..., in] → [..., out] */
  forward(x: Tensor): Tensor {
    return mapThrough(this, x, (input, { weight, bias }) => {
      const y = matmul(input, weight, { transposeB: true });
      return bias ? add(y, bias) : y;
    });
  }
}

/** A linear map with weight [in, out], as GPT-2's checkpoints hold it (the original code calls it a convolution of width 1). */
export class Conv1D extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;

  constructor(inputSize: number, outputSize: number, { bias = true, initializer = normal(0.02) }: LinearOptions = {}) {
    super();
    this.weight = new Parameter([inputSize, outputSize], { initializer });
    this.bias = bias ? new Parameter([outputSize], { initializer: zeros }) : undefined;
  }

  /** x [..., in] → [..., out] */
  forward(x: Tensor): Tensor {
    return mapThrough(this, x, (input, { weight, bias }) => {
      const y = matmul(input, weight);
      return bias ? add(y, bias) : y;
    });
  }
}

/** A table of vectors, looked up by index. */
export class Embedding extends Module {
  readonly weight: Parameter;

  constructor(size: number, dimension: number, { initializer = normal(0.02) }: { readonly initializer?: Initializer } = {}) {
    super();
    this.weight = new Parameter([size, dimension], { initializer });
  }

  /** ids [...] of whole numbers below `size` → [..., dimension] */
  forward(ids: Tensor): Tensor {
    return lookUpThrough(this, ids, (i, { weight }) => gather(weight, i));
  }
}
