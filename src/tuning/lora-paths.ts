/** The low-rank paths of LoRA: one class for each way in which a module uses its weight. */

import { ArgumentError } from "../errors.js";
import { stopGradient } from "../graph/custom-gradient.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import { add, div, mul, sqrt, square, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { conv2d } from "../graph/ops/conv.js";
import { gather } from "../graph/ops/indexing.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { isTraining } from "../graph/trace.js";
import { Parameter } from "../graph/variable.js";
import { Conv2d } from "../nn/conv.js";
import { dropout } from "../nn/dropout.js";
import { normal, uniform, zeros } from "../nn/initializers.js";
import { Conv1D, Linear } from "../nn/linear.js";
import { Module } from "../nn/module.js";
import { type EffectiveValues, effectiveValues } from "../nn/parametrization.js";
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
  protected readonly weightIsInOut: boolean;

  constructor(inputSize: number, outputSize: number, weightIsInOut: boolean, options: PathOptions) {
    super(options);
    this.a = new Parameter([options.rank, inputSize], { initializer: uniform(1 / Math.sqrt(inputSize)) });
    this.b = new Parameter([outputSize, options.rank], { initializer: zeros });
    this.weightIsInOut = weightIsInOut;
  }

  map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    const narrow = matmul(this.enter(x), this.a, { transposeB: true }); // [..., rank]
    return this.beside(inner(x), matmul(narrow, this.b, { transposeB: true }));
  }

  protected delta(): Tensor {
    const product = mul(matmul(this.b, this.a), this.scale); // [out, in]
    return this.weightIsInOut ? transpose(product, [1, 0]) : product;
  }
}

/**
 * The same with weights taken apart into direction and magnitude (Liu et al. 2024, "DoRA: Weight-decomposed low-rank adaptation",
 * equation 5): each output's row of W + scale · b·a has the length that is trained. No gradient flows through the row's own length
 * (section 4.3).
 */
export class DoraLinear extends LoraLinear {
  /** [out]; begins as the lengths of the weight's rows. */
  readonly magnitude: Parameter;
  /** Private: it belongs to the model. */
  readonly #module: Linear | Conv1D;

  constructor(module: Linear | Conv1D, options: PathOptions) {
    const [first, second] = module.weight.shape as [number, number];
    const weightIsInOut = module instanceof Conv1D;
    const [out, into] = weightIsInOut ? [second, first] : [first, second];
    super(into, out, weightIsInOut, options);
    this.#module = module;
    this.magnitude = new Parameter([out]);
    this.magnitude.moveTo({ read: async () => rowLengths(await module.weight.read(), weightIsInOut) });
  }

  override map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    const y = inner(x);
    const { weight, bias } = effectiveValues(this.#module);
    const entering = this.enter(x);
    // What is turned and stretched sees the dropout, what it starts from does not.
    const unbiased = (value: Tensor) => (bias ? sub(value, bias) : value);
    const kept = unbiased(this.dropout > 0 && isTraining() ? inner(cast(entering, x.dtype)) : y);
    const stretch = this.#stretch(weight); // [out]
    const turned = mul(
      mul(matmul(matmul(entering, this.a, { transposeB: true }), this.b, { transposeB: true }), this.scale),
      stretch,
    );
    return add(y, add(mul(kept, cast(sub(stretch, 1), y.dtype)), cast(turned, y.dtype)));
  }

  /** The trained lengths by those that rows have: [out] */
  #stretch(weight: Tensor): Tensor {
    const turned = add(cast(weight, this.a.dtype), this.delta());
    const lengths = sqrt(sum(square(turned), { axes: [this.weightIsInOut ? 0 : 1] }));
    return div(this.magnitude, stopGradient(lengths));
  }

  override merged({ weight, bias }: EffectiveValues): EffectiveValues {
    const [out] = this.magnitude.shape as [number];
    const turned = add(cast(weight, this.a.dtype), this.delta());
    const stretch = reshape(this.#stretch(weight), this.weightIsInOut ? [1, out] : [out, 1]);
    return { weight: cast(mul(turned, stretch), weight.dtype), bias };
  }
}

/** The Euclidean length of each output's row. */
function rowLengths(weight: HostArray, weightIsInOut: boolean): HostArray<"float32"> {
  const [rows, columns] = weight.shape as [number, number];
  const values = toNumbers(weight);
  const squares = new Float64Array(weightIsInOut ? columns : rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      squares[weightIsInOut ? j : i] = (squares[weightIsInOut ? j : i] as number) + (values[i * columns + j] as number) ** 2;
  return { dtype: "float32", shape: [squares.length], data: Float32Array.from(squares, Math.sqrt) };
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
export function loraPath(
  { module, use, tied, path }: Target,
  { tie, dora }: { tie: boolean; dora: boolean },
  options: PathOptions,
): LoraPath {
  const [first, second] = module.weight.shape as [number, number];
  if (dora) {
    if (use === "map" && !tied && (module instanceof Linear || module instanceof Conv1D)) return new DoraLinear(module, options);
    throw new ArgumentError(
      `DoRA is for linear maps whose weight has no other use, but ${path} is a ${module.constructor.name}${tied ? ", tied" : ""}.`,
    );
  }
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
