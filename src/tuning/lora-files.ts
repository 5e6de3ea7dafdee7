/** LoRA adapters as Python's peft writes them: the fields of `adapter_config.json` and the names of tensors. */

import { TsumikiError } from "../errors.js";
import type { HostArray } from "../graph/host-array.js";
import type { Parameter, Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import type { AdapterFiles, DerivedTensor, SaveAdapterOptions } from "./adapter.js";
import type { LoraSettings, LoraTarget } from "./lora.js";
import { nameMatches, peftPrefix as prefix, taskOf } from "./peft.js";
import { possibleTargets, type Target } from "./targets.js";
import type { TrainedCopy } from "./trained-copy.js";

interface Factors {
  readonly a: Parameter;
  readonly b: Parameter;
  /** DoRA's. */
  readonly magnitude?: Parameter;
}

interface SavedLora {
  readonly model: Module;
  readonly settings: LoraSettings;
  readonly targets: readonly LoraTarget[];
  readonly sites: ReadonlyMap<string, Factors>;
  readonly copied: readonly Target[];
  readonly copies: ReadonlyMap<string, TrainedCopy>;
}

/** What each use of a module calls its factors. */
const factorNames = { map: ["lora_A.weight", "lora_B.weight"], lookup: ["lora_embedding_A", "lora_embedding_B"] } as const;

const nameOfMagnitude = "lora_magnitude_vector";

export function loraFiles(
  { model, settings, targets, sites, copied, copies }: SavedLora,
  { base }: SaveAdapterOptions,
): AdapterFiles {
  const tensors = new Map<string, Variable | DerivedTensor>();
  const together = settings.ensureWeightTying ? targets.find(({ target }) => target.tied)?.target : undefined;
  const head = together && possibleTargets(model).find(({ tied, use }) => tied && use === "map");
  for (const { target } of targets) {
    const { a, b, magnitude } = sites.get(target.path) as Factors;
    const [nameOfA, nameOfB] = factorNames[target.use];
    tensors.set(`${prefix}${target.name}.${nameOfA}`, a);
    tensors.set(`${prefix}${target.name}.${nameOfB}`, b);
    if (magnitude) tensors.set(`${prefix}${target.name}.${nameOfMagnitude}`, magnitude);
    if (target !== together || !head) continue;
    tensors.set(`${prefix}${head.name}.lora_A.weight`, transposed(b));
    tensors.set(`${prefix}${head.name}.lora_B.weight`, transposed(a));
  }
  for (const { path, name } of copied)
    for (const [part, parameter] of Object.entries(copies.get(path)?.trained ?? {}))
      tensors.set(`${prefix}${name}.${part}`, parameter);
  const differing = (setting: "rank" | "alpha") =>
    Object.fromEntries(
      targets.flatMap((target) =>
        target[setting] === settings[setting] ? [] : [[escapePattern(target.target.name), target[setting]]],
      ),
    );
  const { rank, alpha, dropout, useRslora, ensureWeightTying } = settings;
  const config = {
    peft_type: "LORA",
    task_type: taskOf(model),
    base_model_name_or_path: base ?? null,
    inference_mode: true,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: [...targets.map(({ target }) => target.name), ...(head ? [head.name] : [])],
    rank_pattern: differing("rank"),
    alpha_pattern: differing("alpha"),
    bias: "none",
    fan_in_fan_out: targets.some(({ target }) => target.module.constructor.name === "Conv1D"),
    init_lora_weights: true,
    modules_to_save: copied.length > 0 ? copied.map(({ name }) => name) : null,
    use_rslora: useRslora,
    use_dora: settings.useDora,
    ensure_weight_tying: ensureWeightTying,
  };
  return { config, tensors };
}

/** In a name as Python's regular expressions read it only dots mean something else. */
const escapePattern = (name: string): string => name.replaceAll(".", "\\.");

function transposed(variable: Variable): DerivedTensor {
  const [rows, columns] = variable.shape as [number, number];
  return {
    shape: [columns, rows],
    async read(): Promise<HostArray> {
      const { data } = (await variable.read()) as HostArray<"float32">;
      const turned = new Float32Array(rows * columns);
      for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = data[i * columns + j] as number;
      return { dtype: "float32", shape: [columns, rows], data: turned };
    },
  };
}

export interface RestoredLora {
  readonly settings: LoraSettings;
  readonly targets: readonly LoraTarget[];
  /** Modules that are trained in full. */
  readonly copied: readonly Target[];
  /** Tensors that only repeat others, with the model's variable that they must equal, if any. */
  readonly repeated: ReadonlyMap<string, Variable | undefined>;
}

/** Fields that change what an adapter computes, unless they are absent or nothing. */
const unsupported = [
  ...["lora_bias", "trainable_token_indices", "target_parameters", "layer_replication"],
  ...["use_qalora", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config", "use_bdlora", "monteclora_config"],
  "bias",
];

const isNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === false || value === "none" || (Array.isArray(value) && value.length === 0);

/**
 * The modules and settings of an adapter, from its configuration and the shapes of its tensors.
 *
 * @throws TsumikiError CONFIG naming every setting that is not supported; CHECKPOINT for tensors of modules that the model lacks
 */
export function readLora(
  model: Module,
  config: Readonly<Record<string, unknown>>,
  shapes: ReadonlyMap<string, readonly number[]>,
): RestoredLora {
  const foreign = unsupported.filter((field) => !isNothing(config[field]));
  if (foreign.length > 0)
    throw new TsumikiError(
      "CONFIG",
      `The adapter uses what is not supported here: ${foreign.map((f) => `${f} ${JSON.stringify(config[f])}`).join(", ")}.`,
    );
  const rank = numberIn(config, "r");
  const alpha = numberIn(config, "lora_alpha");
  const ensureWeightTying = config.ensure_weight_tying === true;
  const targets: LoraTarget[] = [];
  for (const target of possibleTargets(model)) {
    const shape = shapes.get(`${prefix}${target.name}.${factorNames[target.use][0]}`);
    const [rankOfModule] = shape ?? [];
    if (rankOfModule === undefined || (ensureWeightTying && target.tied && target.use === "map")) continue;
    targets.push({ target, rank: rankOfModule, alpha: patternValue(config.alpha_pattern, target) ?? alpha });
  }
  const copied = savedModules(model, config.modules_to_save, shapes);
  const known = new Set([
    ...targets.flatMap(({ target }) => factorNames[target.use].map((name) => `${prefix}${target.name}.${name}`)),
    ...(config.use_dora === true ? targets.map(({ target }) => `${prefix}${target.name}.${nameOfMagnitude}`) : []),
    ...copied.flatMap(({ name }) => [`${prefix}${name}.weight`, `${prefix}${name}.bias`]),
  ]);
  const repeated = repeatedTensors(model, shapes.keys(), ensureWeightTying);
  const unknown = [...shapes.keys()].filter((name) => !known.has(name) && !repeated.has(name));
  if (unknown.length > 0 || targets.length === 0)
    throw new TsumikiError(
      "CHECKPOINT",
      unknown.length > 0
        ? `The adapter has tensors for which this model has no module: ${unknown.slice(0, 8).join(", ")}${unknown.length > 8 ? ", ..." : ""}.`
        : "The adapter has no tensor of a module of this model.",
    );
  const settings: LoraSettings = {
    rank,
    alpha,
    dropout: typeof config.lora_dropout === "number" ? config.lora_dropout : 0,
    useRslora: config.use_rslora === true,
    useDora: config.use_dora === true,
    ensureWeightTying,
  };
  return { settings, targets, copied, repeated };
}

/** The modules among `modules_to_save` that the file has values of: peft names some that a model may lack. */
function savedModules(model: Module, names: unknown, shapes: ReadonlyMap<string, readonly number[]>): readonly Target[] {
  return possibleTargets(model).filter(({ name }) => shapes.has(`${prefix}${name}.weight`) && nameMatches(names, name));
}

/** Tensors that repeat others: weights of the base, and of a tied pair that is adapted together the output's factors. */
function repeatedTensors(model: Module, names: Iterable<string>, ensureWeightTying: boolean): Map<string, Variable | undefined> {
  const possible = possibleTargets(model);
  const repeated = new Map<string, Variable | undefined>();
  for (const name of names)
    for (const {
      name: module,
      module: { weight },
      tied,
      use,
    } of possible)
      if (name === `${prefix}${module}.base_layer.weight`) repeated.set(name, weight);
      else if (ensureWeightTying && tied && use === "map" && factorNames.map.some((f) => name === `${prefix}${module}.${f}`))
        repeated.set(name, undefined);
  return repeated;
}

function numberIn(config: Readonly<Record<string, unknown>>, field: string): number {
  const value = config[field];
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new TsumikiError(
    "CONFIG",
    `${field} of the adapter's configuration should be a number, but is ${JSON.stringify(value)}.`,
  );
}

/** The value of the first pattern that matches the end of a module's name. */
function patternValue(patterns: unknown, { name }: Target): number | undefined {
  if (typeof patterns !== "object" || patterns === null) return undefined;
  for (const [pattern, value] of Object.entries(patterns))
    if (typeof value === "number" && new RegExp(`^(.*\\.)?(${pattern})$`).test(name)) return value;
  return undefined;
}
