/**
 * Low-rank adaptation (Hu et al. 2022, "LoRA: Low-rank adaptation of large language models"): beside a frozen weight W runs a path
 * of rank r, y = x·Wᵀ + α/r · (x·Aᵀ)·Bᵀ, that is trained. B begins at 0, so that training begins at the model itself.
 */

import * as z from "zod";
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
import { type Adaptation, Adapter, type AdapterFiles, type MergedValues, type SaveAdapterOptions } from "./adapter.js";
import { loraFiles, readLora } from "./lora-files.js";
import { registerTuningMethod } from "./registry.js";
import { findTargets, possibleTargets, type Target, type Targets } from "./targets.js";

export interface LoraOptions {
  /** Rank of the change. Default 8. */
  readonly rank?: number;
  /** The change is scaled by alpha/rank. Default: the rank, which scales by 1. */
  readonly alpha?: number;
  /** Dropout on what enters the low-rank path, in training; not on ids. Default 0. */
  readonly dropout?: number;
  /** Which modules. Default "all-linear": every linear map but the output layers. */
  readonly targets?: Targets;
  /** Scales by alpha/√rank, which keeps large ranks trainable (Kalajdzievski 2023, "A rank stabilization scaling factor"). Default false. */
  readonly useRslora?: boolean;
  /**
   * Where an embedding is the output layer too and either of them is adapted: one change of the weight that both see, instead of a
   * change of one of the two uses. Only then the adapter can be merged. Default false.
   */
  readonly ensureWeightTying?: boolean;
  /** Of the initial values. Default 0. */
  readonly seed?: number;
}

/** What one module's path is made with. */
export interface LoraSetting {
  readonly rank: number;
  readonly alpha: number;
}

export type LoraSettings = Required<Omit<LoraOptions, "targets" | "seed">>;

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

  merged?({ weight, bias }: MergedValues): MergedValues {
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

/** One target with its own rank and alpha. */
export interface LoraTarget extends LoraSetting {
  readonly target: Target;
}

export class Lora extends Adapter {
  readonly method = "lora";
  /** The low-rank paths by the module's path; a tied pair that is adapted together stands under the embedding's. */
  readonly sites = new Map<string, LoraPath>();
  readonly settings: LoraSettings;
  // Private, so that a walk of the adapter does not find the model's modules.
  readonly #targets: readonly LoraTarget[];

  constructor(model: Module, targets: readonly LoraTarget[], settings: LoraSettings, seed: number) {
    super(model);
    this.settings = settings;
    this.#targets = targets;
    const adapted = targets.map(({ target, ...setting }) => {
      const scale = setting.alpha / (settings.useRslora ? Math.sqrt(setting.rank) : setting.rank);
      const adaptation = pathOf(target, settings.ensureWeightTying, { ...setting, scale, dropout: settings.dropout });
      this.sites.set(target.path, adaptation);
      return { path: target.path, module: target.module, adaptation };
    });
    this.initialize(seed);
    this.attach(adapted);
  }

  get targets(): readonly LoraTarget[] {
    return this.#targets;
  }

  files(options: SaveAdapterOptions): AdapterFiles {
    return loraFiles(this, options);
  }
}

function pathOf({ module, use, tied, path }: Target, tie: boolean, options: PathOptions): LoraPath {
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

/**
 * Puts low-rank adaptation on a model. The model is frozen until the adapter is detached; train the adapter.
 *
 * @throws ArgumentError for targets that match nothing and settings out of range
 */
export function lora(model: Module, options: LoraOptions = {}): Lora {
  const { rank = 8, targets = "all-linear", seed = 0 } = options;
  const { alpha = rank, dropout: dropped = 0, useRslora = false, ensureWeightTying = false } = options;
  if (!Number.isInteger(rank) || rank < 1) throw new ArgumentError(`LoRA needs a rank of at least 1, but ${rank} was given.`);
  if (!Number.isFinite(alpha)) throw new ArgumentError(`LoRA needs a finite alpha, but ${alpha} was given.`);
  if (!(dropped >= 0 && dropped < 1)) throw new ArgumentError(`A dropout probability lies in [0, 1), but ${dropped} was given.`);
  const found = tiedTogether(model, findTargets(model, targets), ensureWeightTying);
  if (found.length === 0) throw new ArgumentError("This model has no linear map that LoRA could adapt: name its targets.");
  const settings = { rank, alpha, dropout: dropped, useRslora, ensureWeightTying };
  return new Lora(
    model,
    found.map((target) => ({ target, rank, alpha })),
    settings,
    seed,
  );
}

/** With `tie`, of both uses of a tied weight the lookup stands for both. */
export function tiedTogether(model: Module, targets: readonly Target[], tie: boolean): readonly Target[] {
  if (!tie || !targets.some(({ tied }) => tied)) return targets;
  const lookup = possibleTargets(model).find(({ tied, use }) => tied && use === "lookup") as Target;
  return [lookup, ...targets.filter(({ tied }) => !tied)];
}

/** The settings of `{ method: "lora", ... }` in a recipe. */
const settings = z.strictObject({
  rank: z.int().min(1).max(65536).optional(),
  alpha: z.number().optional(),
  dropout: z.number().min(0).lt(1).optional(),
  targets: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  useRslora: z.boolean().optional(),
  ensureWeightTying: z.boolean().optional(),
});

registerTuningMethod({
  name: "lora",
  settings,
  apply: (model, given, { seed }) => lora(model, { ...withoutUndefined(given), seed }),
  peft: {
    type: "LORA",
    restore(model, config, shapes) {
      const { settings, targets, repeated } = readLora(model, config, shapes);
      return { adapter: new Lora(model, targets, settings, 0), repeated };
    },
  },
});

/** Absent settings as zod types them, absent. */
const withoutUndefined = <T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
