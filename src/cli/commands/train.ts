/** `tsumiki train`: a recipe from a file, from flags, or from both. */

import { existsSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import type { Command } from "commander";
import { ArgumentError } from "../../errors.js";
import type { RecipeInput } from "../../runs/recipe.js";
import { chosenTokenizer, type TokenizerFlags, tokenizerFlags } from "../tokenizer-choice.js";

/** Flags that set one key of the recipe each. */
const keyFlags = [
  [
    "--preset <name>",
    "a recipe to begin with: pocket (default without a file), nanogpt, small, further (default with --from)",
    "preset",
  ],
  [
    "--objective <name>",
    "what is learned: causal-lm (the default), masked-lm, distillation, image-classification",
    "objective.name",
  ],
  ["--tuning <method>", "train a few parameters beside the frozen model: lora, ia3, bitfit", "tuning.method"],
  ["--steps <number>", "optimizer steps", "training.steps"],
  ["--batch-size <number>", "sequences in a batch", "training.batchSize"],
  ["--context <number>", "tokens in a sequence", "training.context"],
  ["--learning-rate <number>", "the schedule's peak", "training.learningRate"],
  ["--dropout <share>", "share of values that are dropped (gpt2)", "training.dropout"],
  ["--z-loss <weight>", "weight of the z-loss, which keeps logits from drifting (default 0; PaLM takes 1e-4)", "objective.zLoss"],
  ["--accumulation <number>", "batches in a step", "training.accumulation"],
  [
    "--validate-every <steps>",
    "steps between validations (default: a tenth of the run, but not too much of the time)",
    "training.validateEvery",
  ],
  ["--save-every <steps>", "steps between checkpoints (default: likewise)", "training.saveEvery"],
  ["--text-field <name>", "the field of rows that holds the text (default: it is recognized)", "data.textField"],
  ["--on-bad-row <what>", "stop (the default), or skip, which counts and lists malformed rows", "data.onBadRow"],
  ["--packing <kind>", "how documents become rows: windows (the default), bestFit or padded", "data.packing"],
  ["--seed <number>", "of weights, dropout and the order of the data", "training.seed"],
  ["--engine <name>", "the engine to run on; tsumiki doctor lists them", "engine.name"],
  ["--device <name>", "cpu, cuda, webgpu, ...", "engine.device"],
  ["--precision <name>", "fp32, bf16, or auto: bf16 where the engine is faster in it", "engine.precision"],
  ["--threads <number>", "threads of the engine", "engine.threads"],
] as const;

interface TrainFlags extends TokenizerFlags, Readonly<Record<string, unknown>> {
  readonly from?: string;
  readonly config?: string;
  readonly data?: readonly string[];
  readonly set?: readonly string[];
  readonly out?: string;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly allowEngineChange?: boolean;
}

export function register(program: Command): void {
  const command = program
    .command("train")
    .description("train a model as a recipe says, into a run directory")
    .argument("[recipe]", "a recipe as a JSON file; flags go over it")
    .option("--data <source...>", "files, folders, globs (JSON Lines, JSON, CSV, Parquet, text), or a corpus: tsumiki data list");
  for (const [flag, description] of keyFlags) command.option(flag, description);
  tokenizerFlags(command)
    .option("--from <model>", "weights to begin with: a Hugging Face directory, a run, a GGUF file, or org/name on the hub")
    .option("--config <file>", "any architecture with new weights: a Hugging Face config.json")
    .option("--set <key=value...>", "any key of the recipe, e.g. --set model.numHiddenLayers=6")
    .option("--out <folder>", "where the run is kept (default: runs/ and the name of the recipe or text)")
    .option("--resume", "go on with the run that is there")
    .option("--allow-engine-change", "with --resume: on another engine or in another precision than before")
    .option("--overwrite", "begin anew where a run is there")
    .action(train);
}

async function train(file: string | undefined, flags: TrainFlags): Promise<void> {
  const { trainAndReport } = await import("../training.js");
  const { resume = false, overwrite = false, allowEngineChange = false } = flags;
  const directory = flags.out ?? defaultDirectory(file, flags.data);
  const fromFlags = await recipeOfFlags(flags);
  if (flags.from !== undefined && file === undefined && !resume && flags.data === undefined)
    throw new ArgumentError(
      "--from says which model learns, and --data from what: add --data with files or a corpus (tsumiki data list shows them).",
    );
  const below = await recipeBelow(file, directory, { resume, preset: flags.from === undefined ? "pocket" : "further" });
  const recipe = (await import("../../runs/recipe-merge.js")).mergeRecipes(below, fromFlags);
  await trainAndReport(recipe, { directory, resume, overwrite, allowEngineChange }, (where) => ({
    goOn: `npx tsumiki train --resume --out ${where}`,
    next: [`npx tsumiki sample ${where} "Once upon a time"      let it continue a text of yours`],
  }));
}

/** What the flags go over: the file, else the recipe of the run that goes on, else a preset. */
async function recipeBelow(
  file: string | undefined,
  directory: string,
  { resume, preset }: { readonly resume: boolean; readonly preset: string },
): Promise<RecipeInput> {
  if (file !== undefined) return readRecipe(file);
  const { runProgress } = await import("../../runs/progress.node.js");
  const own = resume ? (await runProgress(directory))?.recipe : undefined;
  return own ?? { preset };
}

/** A recipe file, with its paths as seen from where it lies. */
async function readRecipe(file: string): Promise<RecipeInput> {
  const { readJsonFile } = await import("../../runs/json-file.node.js");
  const { z } = await import("zod");
  const recipe: RecipeInput = await readJsonFile(file, z.record(z.string(), z.unknown()), "CONFIG");
  const seen = (path: unknown) => (typeof path === "string" ? resolve(dirname(file), path) : path) as string;
  const { data, tokenizer, model } = recipe as {
    data?: { files?: unknown };
    tokenizer?: { folder?: unknown };
    model?: { source?: unknown };
  };
  return {
    ...recipe,
    ...(Array.isArray(data?.files) ? { data: { ...recipe.data, files: data.files.map(seen) } } : {}),
    ...(tokenizer?.folder === undefined ? {} : { tokenizer: { ...recipe.tokenizer, folder: seen(tokenizer.folder) } }),
    ...(typeof model?.source === "string" ? { model: { ...recipe.model, source: placeOf(model.source, dirname(file)) } } : {}),
  } as RecipeInput;
}

async function recipeOfFlags(flags: TrainFlags): Promise<RecipeInput> {
  const recipe: Record<string, unknown> = {};
  for (const [flag, , key] of keyFlags) {
    const value = flags[flagName(flag)];
    if (value !== undefined) setKey(recipe, key, numberOr(value as string));
  }
  const model = await chosenModel(flags);
  if (model) recipe.model = { ...(recipe.model as object | undefined), ...model };
  const tokenizer = chosenTokenizer(flags);
  if (tokenizer) recipe.tokenizer = tokenizer;
  for (const setting of flags.set ?? []) {
    const [key, value] = split(setting);
    setKey(recipe, key, jsonOr(value));
  }
  if (flags.data) recipe.data = { ...(recipe.data as object | undefined), ...(await sourceOf(flags.data)) };
  return recipe;
}

async function chosenModel({ from, config }: TrainFlags): Promise<RecipeInput["model"]> {
  if (from !== undefined && config !== undefined)
    throw new ArgumentError("--from begins with weights that are there, --config with new ones: give one of them.");
  if (from !== undefined) return { architecture: "saved", source: placeOf(from, ".") };
  if (config === undefined) return undefined;
  const { readJsonFile } = await import("../../runs/json-file.node.js");
  const { z } = await import("zod");
  return { architecture: "config", config: await readJsonFile(config, z.record(z.string(), z.unknown()), "CONFIG") };
}

/** The path of a file or folder, as seen from `folder`; what is not there may be a name on the hub. */
function placeOf(source: string, folder: string): string {
  const path = resolve(folder, source);
  return existsSync(path) ? path : source;
}

/** `--batch-size <number>` → `batchSize`, as commander calls it */
const flagName = (flag: string): string =>
  (/^--([a-z-]+)/.exec(flag)?.[1] ?? "").replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

async function sourceOf(data: readonly string[]): Promise<RecipeInput["data"] & object> {
  const { corpora } = await import("../../data/index.js");
  const [first = ""] = data;
  if (data.length === 1 && Object.hasOwn(corpora, first)) return { corpus: first as keyof typeof corpora };
  return { files: data.map((path) => resolve(path)) };
}

function split(setting: string): [string, string] {
  const equals = setting.indexOf("=");
  if (equals > 0) return [setting.slice(0, equals), setting.slice(equals + 1)];
  throw new ArgumentError(`--set takes key=value, such as training.steps=100, but ${JSON.stringify(setting)} was given.`);
}

/** Sets `training.steps` and the like, making the objects on the way. */
function setKey(recipe: Record<string, unknown>, key: string, value: unknown): void {
  const [first = "", ...rest] = key.split(".");
  if (rest.length === 0) {
    recipe[first] = value;
    return;
  }
  const known = recipe[first];
  const inner: Record<string, unknown> = typeof known === "object" && known !== null ? { ...known } : {};
  setKey(inner, rest.join("."), value);
  recipe[first] = inner;
}

/** A number where the text is one; the recipe's schema says what else is wrong. */
const numberOr = (text: string): number | string => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export function defaultDirectory(file: string | undefined, data: readonly string[] | undefined): string {
  const [named = "pocket"] = [file, data?.[0]].filter((name) => name !== undefined);
  // What a glob or a name in another script leaves of letters and digits: the folder is to be typed by people.
  const name = basename(named, extname(named)).replace(/[*?{}[\]!|<>:"\\]+/g, "");
  return join("runs", /[\p{L}\p{N}]/u.test(name) ? name : "run");
}
