/**
 * Low-rank adaptation (Hu et al. 2022, "LoRA: Low-rank adaptation of large language models"): beside a frozen weight W runs a path
 * of rank r, y = x·Wᵀ + α/r · (x·Aᵀ)·Bᵀ, that is trained. B begins at 0, so that training begins at the model itself.
 */

import * as z from "zod";
import { ArgumentError } from "../errors.js";
import { Model } from "../models/model.js";
import type { Module } from "../nn/module.js";
import { Adapter, type AdapterFiles, type SaveAdapterOptions } from "./adapter.js";
import { loraFiles, readLora } from "./lora-files.js";
import { type LoraPath, type LoraSetting, loraPath } from "./lora-paths.js";
import { registerTuningMethod } from "./registry.js";
import { findTargets, isOutputLayer, possibleTargets, type Target, type Targets, targetNames } from "./targets.js";
import { TrainedCopy } from "./trained-copy.js";

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
  /** Trains the length of each output's weights apart from their direction (DoRA); for linear maps. Default false. */
  readonly useDora?: boolean;
  /**
   * Where an embedding is the output layer too and either of them is adapted: one change of the weight that both see, instead of a
   * change of one of the two uses. Only then the adapter can be merged. Default false.
   */
  readonly ensureWeightTying?: boolean;
  /**
   * Modules that are trained in full beside it, as copies that are saved with the adapter. Default: the output layer of a classifier,
   * which begins at random.
   */
  readonly alsoTrain?: Exclude<Targets, "all-linear">;
  /** Of the initial values. Default 0. */
  readonly seed?: number;
}

export type LoraSettings = Required<Omit<LoraOptions, "targets" | "alsoTrain" | "seed">>;

/** One target with its own rank and alpha. */
export interface LoraTarget extends LoraSetting {
  readonly target: Target;
}

export class Lora extends Adapter {
  readonly method = "lora";
  /** The low-rank paths by the module's path; a tied pair that is adapted together stands under the embedding's. */
  readonly sites = new Map<string, LoraPath>();
  /** Modules that are trained in full. */
  readonly copies = new Map<string, TrainedCopy>();
  readonly settings: LoraSettings;
  // Private, so that a walk of the adapter does not find the model's modules.
  readonly #targets: readonly LoraTarget[];

  readonly #copied: readonly Target[];

  constructor(
    model: Module,
    targets: readonly LoraTarget[],
    { copied = [], seed = 0, ...settings }: LoraSettings & { readonly copied?: readonly Target[]; readonly seed?: number },
  ) {
    super(model);
    this.settings = settings;
    this.#targets = targets;
    const adapted = targets.map(({ target, ...setting }) => {
      const scale = setting.alpha / (settings.useRslora ? Math.sqrt(setting.rank) : setting.rank);
      const adaptation = loraPath(
        target,
        { tie: settings.ensureWeightTying, dora: settings.useDora },
        { ...setting, scale, dropout: settings.dropout },
      );
      this.sites.set(target.path, adaptation);
      return { path: target.path, module: target.module, adaptation };
    });
    const copies = copied.map(({ path, module, tied }) => {
      if (tied) throw new ArgumentError(`${path} shares its weight with another layer and cannot be trained in full beside it.`);
      if (this.sites.has(path)) throw new ArgumentError(`${path} is both adapted and trained in full: choose one.`);
      const adaptation = new TrainedCopy(module);
      this.copies.set(path, adaptation);
      return { path, module, adaptation };
    });
    this.#copied = copied;
    this.initialize(seed);
    this.attach([...adapted, ...copies]);
  }

  get targets(): readonly LoraTarget[] {
    return this.#targets;
  }

  /** The modules that are trained in full. */
  get copied(): readonly Target[] {
    return this.#copied;
  }

  override files(options: SaveAdapterOptions): AdapterFiles {
    return loraFiles(this, options);
  }
}

/**
 * Puts low-rank adaptation on a model. The model is frozen until the adapter is detached; train the adapter.
 *
 * @throws ArgumentError for targets that match nothing and settings out of range
 */
export function lora(model: Module, options: LoraOptions = {}): Lora {
  const { rank = 8, targets = "all-linear", seed = 0 } = options;
  const { alpha = rank, dropout: dropped = 0, useRslora = false, useDora = false, ensureWeightTying = false } = options;
  if (!Number.isInteger(rank) || rank < 1) throw new ArgumentError(`LoRA needs a rank of at least 1, but ${rank} was given.`);
  if (!Number.isFinite(alpha)) throw new ArgumentError(`LoRA needs a finite alpha, but ${alpha} was given.`);
  if (!(dropped >= 0 && dropped < 1)) throw new ArgumentError(`A dropout probability lies in [0, 1), but ${dropped} was given.`);
  const found = tiedTogether(model, findTargets(model, targets), ensureWeightTying);
  const copied = options.alsoTrain === undefined ? outputLayers(model) : findTargets(model, options.alsoTrain);
  const copiedPaths = new Set(copied.map(({ path }) => path));
  const adapted = found.filter(({ path }) => !copiedPaths.has(path)).map((target) => ({ target, rank, alpha }));
  if (adapted.length === 0) throw new ArgumentError("There is no linear map left that LoRA could adapt: name its targets.");
  return new Lora(model, adapted, { rank, alpha, dropout: dropped, useRslora, useDora, ensureWeightTying, copied, seed });
}

/** The last layers of models that tell classes. */
const outputLayers = (model: Module): readonly Target[] =>
  model instanceof Model && model.kind.endsWith("classifier")
    ? possibleTargets(model).filter(({ path }) => isOutputLayer(path))
    : [];

/** With `tie`, of both uses of a tied weight the lookup stands for both. */
function tiedTogether(model: Module, targets: readonly Target[], tie: boolean): readonly Target[] {
  if (!tie || !targets.some(({ tied }) => tied)) return targets;
  const lookup = possibleTargets(model).find(({ tied, use }) => tied && use === "lookup") as Target;
  return [lookup, ...targets.filter(({ tied }) => !tied)];
}

/** The settings of `{ method: "lora", ... }` in a recipe. */
const settings = z.strictObject({
  rank: z.int().min(1).max(65536).exactOptional(),
  alpha: z.number().exactOptional(),
  dropout: z.number().min(0).lt(1).exactOptional(),
  targets: targetNames.exactOptional(),
  useRslora: z.boolean().exactOptional(),
  useDora: z.boolean().exactOptional(),
  ensureWeightTying: z.boolean().exactOptional(),
  alsoTrain: targetNames.exactOptional(),
});

registerTuningMethod({
  name: "lora",
  settings,
  apply: (model, given, { seed }) => lora(model, { ...given, seed }),
  peft: {
    type: "LORA",
    restore(model, config, shapes) {
      const { settings, targets, copied, repeated } = readLora(model, config, shapes);
      return { adapter: new Lora(model, targets, { ...settings, copied }), repeated };
    },
  },
});
