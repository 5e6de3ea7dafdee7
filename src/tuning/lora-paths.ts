/** The low-rank paths of LoRA: one class for each way in which a module uses its weight. */

import { ArgumentError } from "../errors.js";
import { add, mul } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { conv2d } from "../graph/ops/conv.js";
import { gather } from "../graph/ops/indexing.js";
import { matmul } from "../graph/ops/matmul.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { Conv2d } from "../nn/conv.js";
import { dropout } from "../nn/dropout.js";
import { normal, uniform, zeros } from "../nn/initializers.js";
import { Conv1D } from "../nn/linear.js";
import { Module } from "../nn/module.js";
import type { EffectiveValues } from "../nn/parametrization.js";
import type { Adaptation } from "./adapter.js";
import type { Target } from "./targets.js";

/** What one module's path is made with. */
export interface LoraSetting {
  readonly rank: number;
  readonly alpha: number;
}

interface PathOptions extends LoraSetting {
  readonly scale: number;
  readonly dropout: number;
}

/** A module's low-rank path. Factors are kept as PEFT keeps them. */
export abstract class LoraPath extends Module implements Adaptation {
  abstract readonly a: Parameter;
  abstract readonly b: Parameter;
  readonly alpha: number;
  readonly rank: number;
  protected readonly scale: number;
  protected readonly dropout: number;
  isActive?: () => boolean;

  constructor({ rank, alpha, scale, dropout: dropped }: PathOptions) {
    super();
    this.rank = rank;
    this.alpha = alpha;
    this.scale = scale;
    this.dropout = dropped;
  }

  /** The change of the weight, in the weight's own layout. */
  protected abstract delta(): Tensor;

  merged?({ weight, bias }: EffectiveValues): EffectiveValues {
    return { weight: add(weight, cast(this.delta(), weight.dtype)), bias };
  }

  /** y + scale · path, where the path is computed in the factors' own type. */
  protected beside(y: Tensor, path: Tensor): Tensor {
    return add(y, cast(mul(path, this.scale), y.dtype));
  }

  protected enter(x: Tensor): Tensor {
    return dropout(cast(x, this.a.dtype), this.dropout, "lora");
  }
}

/** Of a linear map: a [rank, in], b [out, rank]. */
export class LoraLinear extends LoraPath {
  readonly a: Parameter;
  readonly b: Parameter;
  readonly #weightIsInOut: boolean;

  constructor(inputSize: number, outputSize: number, weightIsInOut: boolean, options: PathOptions) {
    super(options);
    this.a = new Parameter([options.rank, inputSize], { initializer: uniform(1 / Math.sqrt(inputSize)) });
    this.b = new Parameter([outputSize, options.rank], { initializer: zeros });
    this.#weightIsInOut = weightIsInOut;
  }

  map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    const narrow = matmul(this.enter(x), this.a, { transposeB: true }); // [..., rank]
    return this.beside(inner(x), matmul(narrow, this.b, { transposeB: true }));
  }

  protected delta(): Tensor {
    const product = mul(matmul(this.b, this.a), this.scale); // [out, in]
    return this.#weightIsInOut ? transpose(product, [1, 0]) : product;
  }
}

/** Of a table of vectors: a [rank, rows], b [dimension, rank]. */
export class LoraEmbedding extends LoraPath {
  readonly a: Parameter;
  readonly b: Parameter;

  constructor(rows: number, dimension: number, options: PathOptions) {
    super(options);
    this.a = new Parameter([options.rank, rows], { initializer: zeros });
    this.b = new Parameter([dimension, options.rank], { initializer: normal(1) });
  }

  lookup(ids: Tensor, inner: (ids: Tensor) => Tensor): Tensor {
    const narrow = gather(transpose(this.a, [1, 0]), ids); // [..., rank]
    return this.beside(inner(ids), matmul(narrow, this.b, { transposeB: true }));
  }

  protected delta(): Tensor {
    return mul(matmul(this.a, this.b, { transposeA: true, transposeB: true }), this.scale); // [rows, dimension]
  }
}

/** The same change of a table that is the output layer too: logits get it as well. */
export class TiedLoraEmbedding extends LoraEmbedding {
  map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    return this.beside(inner(x), matmul(matmul(this.enter(x), this.b), this.a)); // [..., rank] · [rank, rows]
  }
}

/** Of a convolution over height and width: a [rank, in, ...kernel] as the convolution itself, then b [out, rank, 1, 1]. */
export class LoraConv2d extends LoraPath {
  readonly a: Parameter;
  readonly b: Parameter;
  readonly #options: Conv2d["options"];

  constructor({ weight, options: convolution }: Conv2d, options: PathOptions) {
    super(options);
    const [out, inputs, ...kernel] = weight.shape as [number, number, number, number];
    const fanIn = kernel.reduce((product, size) => product * size, inputs);
    this.a = new Parameter([options.rank, inputs, ...kernel], { initializer: uniform(1 / Math.sqrt(fanIn)) });
    this.b = new Parameter([out, options.rank, 1, 1], { initializer: zeros });
    this.#options = convolution;
  }

  map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    return this.beside(inner(x), conv2d(conv2d(this.enter(x), this.a, undefined, this.#options), this.b));
  }

  protected delta(): Tensor {
    const [rank, inputs, height, width] = this.a.shape as [number, number, number, number];
    const product = matmul(reshape(this.b, [-1, rank]), reshape(this.a, [rank, inputs * height * width]));
    return mul(reshape(product, [this.b.shape[0] as number, inputs, height, width]), this.scale);
  }
}

/** The path of one target; of a tied pair that is adapted together with `tie`, the one that both uses share. */
export function loraPath({ module, use, tied, path }: Target, tie: boolean, options: PathOptions): LoraPath {
  const [first, second] = module.weight.shape as [number, number];
  if (module instanceof Conv2d) {
    if ((module.options.groups ?? 1) !== 1) throw new ArgumentError(`LoRA of a convolution in groups is not supported: ${path}.`);
    return new LoraConv2d(module, options);
  }
  if (use === "lookup")
    return tied && tie
      ? new TiedLoraEmbedding(first, second, options)
      : unmergeable(new LoraEmbedding(first, second, options), tied);
  if (module instanceof Conv1D) return new LoraLinear(first, second, true, options);
  return unmergeable(new LoraLinear(second, first, false, options), tied);
}

/** A change of one of two uses of a weight cannot become part of the weight. */
function unmergeable(path: LoraPath, tied: boolean): LoraPath {
  if (tied) Object.defineProperty(path, "merged", { value: undefined });
  return path;
}
