/**
 * Models as Hugging Face directories (Node), which Python's transformers opens, and the other way round:
 *
 * ```
 * my-llama/
 *   config.json             architecture and sizes
 *   model.safetensors       the parameters
 *   generation_config.json  ids of special tokens
 *   tokenizer.json, tokenizer_config.json
 * ```
 */

import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { openVariables, saveVariables } from "../checkpoint/variables.node.js";
import { TsumikiError } from "../errors.js";
import { syncFolder, writeFileAtomically } from "../files/atomic.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { checkpointVariables, configOf, type HuggingFaceConfig, modelFromConfig, tensorMatch } from "./architectures.js";
import type { CausalLM } from "./causal-lm.js";

export interface SaveModelOptions {
  /** Saved beside the model, so that the directory can be used on its own. */
  readonly tokenizer?: Tokenizer;
}

export interface LoadModelOptions {
  /** The file with the parameters. Default: `model.safetensors` in the directory. */
  readonly weights?: string;
}

const weightsFile = "model.safetensors";

/** Entries of `config.json` that a model here does not use, and that belong to it all the same. */
const tokenIds = ["bos_token_id", "eos_token_id", "pad_token_id"];

/** What else stood in the directory of a loaded model and is written again with it. */
interface Origin {
  readonly tokenIds: HuggingFaceConfig;
  readonly generationConfig: HuggingFaceConfig | undefined;
}

const origins = new WeakMap<CausalLM, Origin>();

/**
 * Writes a model, and its tokenizer when there is one, as a Hugging Face directory. A directory that is new appears when it is
 * complete; in one that is there each file is replaced as a whole, the parameters last.
 */
export async function saveModel(model: CausalLM, directory: string, { tokenizer }: SaveModelOptions = {}): Promise<void> {
  const target = resolve(directory);
  const isNew = (await entriesOf(target)).length === 0;
  await mkdir(dirname(target), { recursive: true });
  if (!isNew) return writeModel(model, target, tokenizer);
  const temporary = join(dirname(target), `.${basename(target)}-${randomBytes(4).toString("hex")}`);
  await mkdir(temporary);
  try {
    await writeModel(model, temporary, tokenizer);
    await rename(temporary, target); // takes the place of an empty directory too
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await syncFolder(dirname(target));
}

async function writeModel(model: CausalLM, directory: string, tokenizer: Tokenizer | undefined): Promise<void> {
  const origin = origins.get(model);
  const config = { ...configOf(model), ...origin?.tokenIds };
  const generationConfig = origin?.generationConfig ?? Object.fromEntries(tokenIds.map((name) => [name, config[name] ?? null]));
  await tokenizer?.save(directory);
  await writeJson(join(directory, "generation_config.json"), generationConfig);
  await writeJson(join(directory, "config.json"), config);
  await saveVariables(join(directory, weightsFile), checkpointVariables(model));
}

/**
 * The model of a Hugging Face directory, from here or from Python, in one of the architectures that are known here. Its parameters
 * stay in the file until they are needed, so the file must remain as it is (a change is noticed). 16-bit values are converted.
 *
 * @throws TsumikiError CONFIG for another architecture or a configuration that cannot be followed; CHECKPOINT for a file of
 * parameters that is missing, truncated, foreign or does not fit the configuration, naming every tensor that is wrong
 */
export async function loadModel(directory: string, { weights }: LoadModelOptions = {}): Promise<CausalLM> {
  const path = join(directory, "config.json");
  const config = await readJson(path);
  if (config === undefined)
    throw new TsumikiError("CONFIG", `${directory} is not a saved model: there is no config.json. ${await describe(directory)}`);
  const model = modelFromConfig(config, path);
  const weightsPath = weights ?? join(directory, weightsFile);
  if (!weights && !(await entriesOf(directory)).includes(weightsFile))
    throw new TsumikiError("CHECKPOINT", `There is no ${weightsFile} in ${directory}. ${await describe(directory)}`);
  await openVariables(weightsPath, checkpointVariables(model), tensorMatch(model));
  origins.set(model, {
    tokenIds: Object.fromEntries(tokenIds.flatMap((name) => (name in config ? [[name, config[name]]] : []))),
    generationConfig: await readJson(join(directory, "generation_config.json")),
  });
  return model;
}

async function describe(directory: string): Promise<string> {
  const entries = await entriesOf(directory);
  if (entries.includes("checkpoints")) return "It is a run that has not ended: its parameters are in checkpoints/.";
  if (entries.some((name) => /^model-\d+-of-\d+\.safetensors$/.test(name)))
    return "Its parameters are spread over several files: save it in one, in Python with max_shard_size.";
  if (entries.some((name) => /\.(bin|pth?|ckpt)$/.test(name)))
    return "Its parameters are in PyTorch's own format: save it as safetensors, in Python with save_pretrained.";
  return entries.length > 0 ? `It holds ${entries.slice(0, 8).join(", ")}.` : "It is empty or does not exist.";
}

/** The object in a JSON file; undefined where there is no file. */
async function readJson(path: string): Promise<HuggingFaceConfig | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw new TsumikiError("CONFIG", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as HuggingFaceConfig;
  } catch (cause) {
    throw new TsumikiError("CONFIG", `${path} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
  throw new TsumikiError("CONFIG", `${path} does not hold an object: ${text.slice(0, 40)}`);
}

const writeJson = (path: string, value: object): Promise<void> =>
  writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);

/** The names in a directory; none where there is no directory. */
async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}
