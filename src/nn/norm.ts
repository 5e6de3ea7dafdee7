/** Normalization over the last axis. */

import { layerNorm, rmsNorm } from "../graph/ops/norm.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { ones, zeros } from "./initializers.js";
import { Module } from "./module.js";

export interface NormOptions {
  /** Added to the (mean square or variance) inside the root. Default 1e-5. */
  readonly epsilon?: number;
}

/** Layer normalization (Ba et al. 2016): (x − mean) / √(variance + ε) · weight + bias, with the biased variance. */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly #epsilon: number;

  constructor(size: number, { epsilon = 1e-5, bias = true }: NormOptions & { readonly bias?: boolean } = {}) {
    super();
    this.weight = new Parameter([size], { initializer: ones });
    this.bias = bias ? new Parameter([size], { initializer: zeros }) : undefined;
    this.#epsilon = epsilon;
  }

  /** x [..., size] → [..., size] */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, { epsilon: this.#epsilon });
  }
}

/** Root mean square normalization (Zhang & Sennrich 2019): x / √(mean(x²) + ε) · weight. */
export class RMSNorm extends Module {
  readonly weight: Parameter;
  readonly #epsilon: number;

  constructor(size: number, { epsilon = 1e-5 }: NormOptions = {}) {
    super();
    this.weight = new Parameter([size], { initializer: ones });
    this.#epsilon = epsilon;
  }

  /** x [..., size] → [..., size] */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { epsilon: this.#epsilon });
  }
}
