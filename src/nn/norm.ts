/** Normalization over the last axis. */

import { add, mul } from "../graph/ops/arithmetic.js";
import { layerNorm, rmsNorm } from "../graph/ops/norm.js";
import { reshape } from "../graph/ops/shape.js";
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

/** RMSNorm whose weight is kept as its distance from 1, as in Gemma: weight decay then pulls towards 1 and not towards 0. */
export class OffsetRMSNorm extends Module {
  readonly weight: Parameter;
  readonly #epsilon: number;

  constructor(size: number, { epsilon = 1e-5 }: NormOptions = {}) {
    super();
    this.weight = new Parameter([size], { initializer: zeros });
    this.#epsilon = epsilon;
  }

  /** x [..., size] → [..., size] */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, add(this.weight, 1), { epsilon: this.#epsilon });
  }
}

/** Layer normalization of each head with a weight of its own and no bias, as Cohere normalizes queries and keys. */
export class HeadLayerNorm extends Module {
  readonly weight: Parameter;
  readonly #epsilon: number;

  constructor(heads: number, headDim: number, { epsilon = 1e-5 }: NormOptions = {}) {
    super();
    this.weight = new Parameter([heads, headDim], { initializer: ones });
    this.#epsilon = epsilon;
  }

  /** x [batch, heads, seq, headDim] → the same shape */
  forward(x: Tensor): Tensor {
    const [heads, headDim] = this.weight.shape;
    const normalized = layerNorm(x, undefined, undefined, { epsilon: this.#epsilon });
    return mul(normalized, reshape(this.weight, [heads as number, 1, headDim as number]));
  }
}
