/** Which modules of a model an adapter takes hold of. */

import * as z from "zod";
import { toCheckpointName } from "../checkpoint/names.js";
import { ArgumentError } from "../errors.js";
import { Model } from "../models/model.js";
import { Conv2d } from "../nn/conv.js";
import { Conv1D, Embedding, Linear } from "../nn/linear.js";
import type { Module } from "../nn/module.js";

/**
 * Modules by name: `"all-linear"` (every linear map but the output layers), a pattern that is searched for in a module's path, a name,
 * or several. A name is the end of a path (`qProj`, `selfAttn.qProj`), as it is spelled here or in checkpoints (`q_proj`). A name
 * between slashes is a pattern too, for JSON: `"/(q|v)Proj$/"`.
 */
export type Targets = "all-linear" | RegExp | string | readonly string[];

/** Targets as recipes say them. */
export const targetNames = z.union([z.string(), z.array(z.string()).min(1)]);

/** One use of one module: a tied embedding both looks up and maps to logits. */
export interface Target {
  /** The property path from the model, e.g. `layers.3.selfAttn.qProj`; of a tied output layer the path that it would have, `lmHead`. */
  readonly path: string;
  /** The module's name in Python, e.g. `model.layers.3.self_attn.q_proj`. */
  readonly name: string;
  readonly module: Linear | Conv1D | Conv2d | Embedding;
  readonly use: "map" | "lookup";
  /** Whether the same weight has another use in the model. */
  readonly tied: boolean;
}

/** Every module of a model that can be adapted, once for each use. */
export function possibleTargets(model: Module): readonly Target[] {
  const found: Target[] = [];
  const output = tiedOutput(model);
  for (const [path, module] of model.modules()) {
    const name = nameInPython(model, path);
    const tied = module === output?.module;
    if (module instanceof Embedding) found.push({ path, name, module, use: "lookup", tied });
    else if (module instanceof Linear || module instanceof Conv1D || module instanceof Conv2d)
      found.push({ path, name, module, use: "map", tied });
  }
  return output ? [...found, output] : found;
}

/** @throws ArgumentError where a name or pattern matches nothing */
export function findTargets(model: Module, targets: Targets): readonly Target[] {
  const possible = possibleTargets(model);
  if (targets === "all-linear")
    return possible.filter(({ path, module }) => (module instanceof Linear || module instanceof Conv1D) && !isOutputLayer(path));
  const chosen = new Set<Target>();
  for (const wanted of targets instanceof RegExp || typeof targets === "string" ? [targets] : targets) {
    const matching = possible.filter(({ path, name }) => [path, name].some((spelled) => matches(wanted, spelled)));
    if (matching.length === 0)
      throw new ArgumentError(
        `No module that can be adapted matches ${wanted instanceof RegExp ? wanted : JSON.stringify(wanted)}. There are ${listed(possible)}.`,
      );
    for (const target of matching) chosen.add(target);
  }
  return possible.filter((target) => chosen.has(target));
}

function matches(wanted: RegExp | string, spelled: string): boolean {
  if (wanted instanceof RegExp) return spelled.search(wanted) >= 0;
  if (wanted.length > 2 && wanted.startsWith("/") && wanted.endsWith("/"))
    return spelled.search(new RegExp(wanted.slice(1, -1))) >= 0;
  return spelled === wanted || spelled.endsWith(`.${wanted}`);
}

/** Last names, each once: `qProj, kProj, ...`. */
const listed = (possible: readonly Target[]): string =>
  [...new Set(possible.map(({ path }) => path.split(".").at(-1)))].join(", ") || "none";

/** What makes scores of hidden states: it is the model's last layer, and "all-linear" leaves it alone, as PEFT does. */
export const isOutputLayer = (path: string): boolean =>
  /^(lmHead|embedOut|output|decoder|classifier|score|qaOutputs)$/.test(path);

/** The output layer of a model that has none of its own: the embedding once more. */
function tiedOutput(model: Module): Target | undefined {
  const output = model instanceof Model ? model.tiedOutput : undefined;
  return output && { path: output.path, name: output.name, module: output.embedding, use: "map", tied: true };
}

const nameInPython = (model: Module, path: string): string =>
  toCheckpointName(model instanceof Model ? model.checkpointPath(`${path}.weight`) : `${path}.weight`).replace(/\.weight$/, "");
