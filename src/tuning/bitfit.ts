/**
 * BitFit (Ben Zaken et al. 2022, "BitFit: Simple parameter-efficient fine-tuning for transformer-based masked language-models"): the
 * biases alone are trained.
 */

import * as z from "zod";
import { ArgumentError } from "../errors.js";
import type { Parameter } from "../graph/variable.js";
import { Conv2d } from "../nn/conv.js";
import { Conv1D, Linear } from "../nn/linear.js";
import type { Module } from "../nn/module.js";
import { BatchNorm, LayerNorm } from "../nn/norm.js";
import { adapt, type SiteAdapter } from "./adapt.js";
import { registerTuningMethod } from "./registry.js";
import { TrainedCopy } from "./trained-copy.js";

/**
 * Trains the biases of linear maps, convolutions and norms, as copies beside the model, which is frozen until the adapter is detached.
 *
 * @throws ArgumentError where a model has none
 */
export function bitfit(model: Module): SiteAdapter<TrainedCopy> {
  const targets = [...model.modules()].flatMap(([path, module]) => (hasBias(module) ? [{ path, module }] : []));
  if (targets.length === 0) throw new ArgumentError(`A ${model.constructor.name} has no biases that BitFit could train.`);
  const parts = { weight: false, bias: true };
  return adapt(model, { method: "bitfit", settings: {}, seed: 0 }, targets, ({ module }) => new TrainedCopy(module, parts));
}

type Biased = (Linear | Conv1D | Conv2d | LayerNorm | BatchNorm) & { readonly bias: Parameter };

const hasBias = (module: Module): module is Biased =>
  [Linear, Conv1D, Conv2d, LayerNorm, BatchNorm].some((kind) => module instanceof kind) && (module as Biased).bias !== undefined;

registerTuningMethod({ name: "bitfit", settings: z.strictObject({}), apply: (model) => bitfit(model) });
