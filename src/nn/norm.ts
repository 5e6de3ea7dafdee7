/** Normalization: over the features of each position, or of each feature over all positions. */

import { add, div, mul, sqrt, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { instanceNorm, layerNorm, rmsNorm } from "../graph/ops/norm.js";
import { mean, numberOfElements, variance } from "../graph/ops/reduce.js";
import { reshape } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { isTraining } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";
import { ones, zeros } from "./initializers.js";
import { Module } from "./module.js";
import { effectiveValues, effectiveWeight, type WeightedModule } from "./parametrization.js";

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
    const { weight, bias } = effectiveValues(this);
    return layerNorm(x, weight, bias, { epsilon: this.#epsilon });
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
    return rmsNorm(x, effectiveWeight(this), { epsilon: this.#epsilon });
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
    return rmsNorm(x, add(effectiveWeight(this), 1), { epsilon: this.#epsilon });
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
    return mul(normalized, reshape(effectiveWeight(this), [heads as number, 1, headDim as number]));
  }
}

export interface BatchNormOptions extends NormOptions {
  /** Share of the new in what is remembered. Default 0.1. */
  readonly momentum?: number;
  /** Features are axis 1, as of images, instead of the last axis. Default false. */
  readonly channelsFirst?: boolean;
}

/**
 * Batch normalization (Ioffe & Szegedy 2015) of each feature, over rows and positions alike. In training with the statistics of the
 * batch (the biased variance), which are remembered; otherwise with what was remembered.
 */
export class BatchNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly runningMean: Variable;
  readonly runningVar: Variable;
  readonly #epsilon: number;
  readonly #momentum: number;
  readonly #channelsFirst: boolean;

  constructor(size: number, { epsilon = 1e-5, momentum = 0.1, channelsFirst = false }: BatchNormOptions = {}) {
    super();
    this.weight = new Parameter([size], { initializer: ones });
    this.bias = new Parameter([size], { initializer: zeros });
    this.runningMean = new Variable([size], { initializer: zeros });
    this.runningVar = new Variable([size], { initializer: ones });
    this.#epsilon = epsilon;
    this.#momentum = momentum;
    this.#channelsFirst = channelsFirst;
  }

  /** x [..., size], or [batch, size, ...] with `channelsFirst` → the same shape */
  forward(x: Tensor): Tensor {
    const [center, spread] = isTraining() ? this.#remember(x) : [this.runningMean, this.runningVar];
    const broadcast = (parameter: Tensor) =>
      this.#channelsFirst ? reshape(parameter, [parameter.size(0), ...x.shape.slice(2).map(() => 1)]) : parameter;
    const normalized = div(sub(x, broadcast(center)), broadcast(sqrt(add(spread, this.#epsilon))));
    const { weight, bias } = effectiveValues(this);
    return add(mul(normalized, broadcast(weight)), broadcast(bias as Tensor));
  }

  /** Mean and biased variance of each feature. */
  #remember(x: Tensor): readonly [Tensor, Tensor] {
    const feature = this.#channelsFirst ? 1 : x.rank - 1;
    const axes = x.shape.flatMap((_, axis) => (axis === feature ? [] : [axis]));
    const [center, spread] = [mean(x, { axes }), variance(x, { axes })];
    // float32: narrower floats do not hold every number of elements.
    const count = numberOfElements(x.shape.toSpliced(feature, 1), x.dtype === "float64" ? "float64" : "float32");
    const unbiased = mul(spread, cast(div(count, sub(count, 1)), x.dtype));
    const towards = (old: Tensor, now: Tensor) => add(old, mul(sub(now, old), this.#momentum));
    // On top of what an earlier call in the same step has recorded.
    this.runningMean.update((old) => towards(old, center));
    this.runningVar.update((old) => towards(old, unbiased));
    return [center, spread];
  }
}

/**
 * Instance normalization (Ulyanov, Vedaldi & Lempitsky 2016): each channel of each example over its positions, alike in training and after
 * it.
 */
export class InstanceNorm extends Module {
  readonly weight: Parameter | undefined;
  readonly bias: Parameter | undefined;
  readonly #epsilon: number;

  /** @param options.affine whether there are a weight and a bias; default false, as in PyTorch */
  constructor(size: number, { epsilon = 1e-5, affine = false }: NormOptions & { readonly affine?: boolean } = {}) {
    super();
    this.weight = affine ? new Parameter([size], { initializer: ones }) : undefined;
    this.bias = affine ? new Parameter([size], { initializer: zeros }) : undefined;
    this.#epsilon = epsilon;
  }

  /** x [batch, size, ...spatial] → the same shape */
  forward(x: Tensor): Tensor {
    const { weight, bias } = this.weight ? effectiveValues(this as WeightedModule) : { weight: undefined, bias: undefined };
    return instanceNorm(x, weight, bias, { epsilon: this.#epsilon });
  }
}

export interface DeepNormConstants {
  /** Factor on what flows past a block, before both are added and normalized. */
  readonly alpha: number;
  /** Gain of the initial values in feed-forward blocks, and of the maps to values and back. */
  readonly beta: number;
}

/** norm(alpha · x + block(x)) trains at depths of a thousand layers (Wang et al. 2022, "DeepNet", table in figure 2). */
export const deepNormConstants = (layers: number): DeepNormConstants => ({
  alpha: (2 * layers) ** 0.25,
  beta: (8 * layers) ** -0.25,
});
