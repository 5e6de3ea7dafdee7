/**
 * (IA)³ (Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning", section 3.3): keys,
 * values and what is inside feed-forward blocks are scaled, feature by feature, by vectors that are trained and begin at 1.
 */

import * as z from "zod";
import { TsumikiError } from "../errors.js";
import { mul } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { reshape } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { ones } from "../nn/initializers.js";
import { Conv1D, Linear } from "../nn/linear.js";
import { Module } from "../nn/module.js";
import type { EffectiveValues } from "../nn/parametrization.js";
import { SiteAdapter } from "./adapt.js";
import type { Adaptation, AdapterFiles, SaveAdapterOptions } from "./adapter.js";
import { nameMatches, peftPrefix, taskOf } from "./peft.js";
import { registerTuningMethod } from "./registry.js";
import { findTargets, possibleTargets, type Target, type Targets, targetNames } from "./targets.js";

export interface Ia3Options {
  /** Linear maps whose results are scaled. Default: those to keys and values, one by one or fused. */
  readonly targets?: Targets;
  /** Linear maps whose inputs are scaled. Default: the last ones of feed-forward blocks. */
  readonly feedForward?: Targets;
}

const keysAndValues = /(^|\.)(kProj|vProj|key|value|cAttn|queryKeyValue|qkvProj)$/;
const lastOfFeedForward = /(^|\.)(downProj|mlp\.cProj|fc2|mlp\.fcOut|dense4hToH|\d+\.output\.dense)$/;

/** Scales what a linear map gives, its bias included, or what it gets. */
export class Ia3Scale extends Module implements Adaptation {
  /** [out, 1], or [1, in] before the map, as peft keeps it. */
  readonly scale: Parameter;
  readonly #before: boolean;
  readonly #weightIsInOut: boolean;
  isActive?: () => boolean;

  constructor({ weight, weightIsInOut, before }: { weight: Parameter; weightIsInOut: boolean; before: boolean }) {
    super();
    const [rows, columns] = weight.shape as [number, number];
    const [out, into] = weightIsInOut ? [columns, rows] : [rows, columns];
    this.scale = new Parameter(before ? [1, into] : [out, 1], { initializer: ones });
    this.#before = before;
    this.#weightIsInOut = weightIsInOut;
  }

  map(x: Tensor, inner: (x: Tensor) => Tensor): Tensor {
    const scaled = (y: Tensor) => mul(y, cast(reshape(this.scale, [-1]), y.dtype));
    return this.#before ? inner(scaled(x)) : scaled(inner(x));
  }

  merged({ weight, bias }: EffectiveValues): EffectiveValues {
    const [rows, columns] = this.scale.shape as [number, number];
    const scale = this.#weightIsInOut ? reshape(this.scale, [columns, rows]) : this.scale;
    return { weight: mul(weight, scale), bias: bias && (this.#before ? bias : mul(bias, reshape(this.scale, [-1]))) };
  }
}

interface Ia3Target extends Target {
  readonly before: boolean;
}

export class Ia3 extends SiteAdapter<Ia3Scale> {
  readonly #targets: readonly Ia3Target[];

  constructor(model: Module, targets: readonly Ia3Target[]) {
    const settings = {
      targets: targets.filter(({ before }) => !before).map(({ path }) => path),
      feedForward: targets.filter(({ before }) => before).map(({ path }) => path),
    };
    super(model, { method: "ia3", settings, seed: 0 }, targets, (i) => {
      const { module, before } = targets[i] as Ia3Target;
      return new Ia3Scale({ weight: module.weight, weightIsInOut: module instanceof Conv1D, before });
    });
    this.#targets = targets;
  }

  override files({ base }: SaveAdapterOptions): AdapterFiles {
    const names = this.#targets.map(({ name }) => name);
    const config = {
      peft_type: "IA3",
      task_type: taskOf(this.model),
      base_model_name_or_path: base ?? null,
      inference_mode: true,
      target_modules: names,
      feedforward_modules: this.#targets.filter(({ before }) => before).map(({ name }) => name),
      fan_in_fan_out: this.#targets.some(({ module }) => module instanceof Conv1D),
      init_ia3_weights: true,
      modules_to_save: null,
    };
    const tensors = this.#targets.map(
      ({ path, name }) => [`${peftPrefix}${name}.ia3_l`, (this.sites.get(path) as Ia3Scale).scale] as const,
    );
    return { config, tensors: new Map(tensors) };
  }
}

/** Puts (IA)³ on a model, which is frozen until the adapter is detached. */
export function ia3(model: Module, { targets = keysAndValues, feedForward = lastOfFeedForward }: Ia3Options = {}): Ia3 {
  const linear = (chosen: Targets) => findTargets(model, chosen).filter(isLinear);
  const before = linear(feedForward);
  const behind = linear(targets).filter(({ path }) => before.every((other) => other.path !== path));
  return new Ia3(model, [
    ...behind.map((target) => ({ ...target, before: false })),
    ...before.map((target) => ({ ...target, before: true })),
  ]);
}

/** Not a tied output layer: scaled, it would be another table than its embedding. */
const isLinear = ({ module, tied }: Target): boolean => (module instanceof Linear || module instanceof Conv1D) && !tied;

registerTuningMethod({
  name: "ia3",
  settings: z.strictObject({ targets: targetNames.exactOptional(), feedForward: targetNames.exactOptional() }),
  apply: (model, settings) => ia3(model, settings),
  peft: {
    type: "IA3",
    restore(model, config, shapes) {
      if (Array.isArray(config.modules_to_save) && config.modules_to_save.length > 0)
        throw new TsumikiError("CONFIG", "The (IA)³ adapter has modules_to_save, which is not supported here.");
      const found = possibleTargets(model).filter(({ name }) => shapes.has(`${peftPrefix}${name}.ia3_l`));
      const names = new Set(found.map(({ name }) => `${peftPrefix}${name}.ia3_l`));
      const unknown = [...shapes.keys()].filter((name) => !names.has(name));
      if (unknown.length > 0 || found.length === 0)
        throw new TsumikiError(
          "CHECKPOINT",
          `The adapter does not fit this model: ${unknown.slice(0, 8).join(", ") || "it is empty"}.`,
        );
      const targets = found.map((target) => ({ ...target, before: nameMatches(config.feedforward_modules, target.name) }));
      return { adapter: new Ia3(model, targets), repeated: new Map() };
    },
  },
});
