/**
 * Models as Hugging Face directories (Node), which Python's transformers opens, and the other way round:
 *
 * ```
 * my-llama/
 *   config.json             architecture and sizes
 *   model.safetensors       the parameters; large ones in several files and model.safetensors.index.json
 *   generation_config.json  ids of special tokens
 *   tokenizer.json, tokenizer_config.json
 * ```
 */

import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  describeDirectory,
  replacingWeights,
  requireWeights,
  saveWeights,
  type WeightsOptions,
} from "../checkpoint/directory.node.js";
import { differingRepeats } from "../checkpoint/repeated-tensors.node.js";
import { openVariables } from "../checkpoint/variables.node.js";
import { TsumikiError } from "../errors.js";
import { syncFolder, writeFileAtomically } from "../files/atomic.node.js";
import { readJsonObject } from "../files/json.node.js";
import { announceReplacement, finishReplacement, removeAbandoned } from "../files/replace.node.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { locateModel } from "../hub/locate.node.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { checkpointVariables, configOf, type HuggingFaceConfig, modelFromConfig } from "./architectures.js";
import { configText } from "./configs/entries.js";
import type { AnyModel, Model, ModelKind, ModelKinds } from "./model.js";

export interface SaveModelOptions extends WeightsOptions {
  /** Saved beside the model, so that the directory can be used on its own. */
  readonly tokenizer?: Tokenizer;
}

export interface LoadModelOptions<K extends ModelKind = ModelKind> extends DownloadOptions {
  /** What it is to be used as. Default: what its `config.json` says. */
  readonly kind?: K;
  /** The file with the parameters, or the index of several. Default: that of the directory. */
  readonly weights?: string;
}

/** Entries of `config.json` that a model here does not use, and that belong to it all the same. */
const tokenIds = ["bos_token_id", "eos_token_id", "pad_token_id"];

/** What else stood in the directory of a loaded model and is written again with it. */
interface Origin {
  readonly tokenIds: HuggingFaceConfig;
  readonly generationConfig: HuggingFaceConfig | undefined;
}

const origins = new WeakMap<Model, Origin>();

/**
 * Writes a model, and its tokenizer when there is one, as a Hugging Face directory. A new directory appears when it is complete. The
 * files of an existing one are replaced once the new ones lie beside it, whole: an interrupted save leaves the old model, or one that
 * the next load or save completes.
 */
export async function saveModel(model: Model, directory: string, options: SaveModelOptions = {}): Promise<void> {
  const target = resolve(directory);
  const isNew = (await entriesOf(target)).length === 0;
  await mkdir(dirname(target), { recursive: true });
  if (!isNew) await finishReplacement(target);
  await removeAbandoned(target);
  const temporary = join(dirname(target), `.${basename(target)}-${randomBytes(4).toString("hex")}`);
  if (isNew)
    await removedOnFailure(temporary, async () => {
      await writeModel(model, temporary, options);
      await rename(temporary, target); // takes the place of an empty directory too
    });
  else await replaceModel(model, target, temporary, options);
  await syncFolder(dirname(target));
}

/** Writes the model beside the directory first: what is in it is either the old model or the new one. */
async function replaceModel(model: Model, target: string, temporary: string, options: SaveModelOptions): Promise<void> {
  await replacingWeights(target, checkpointVariables(model), options.dtype, async (old) => {
    await removedOnFailure(temporary, async () => {
      await writeModel(model, temporary, options);
      await announceReplacement(
        temporary,
        target,
        old.map((path) => basename(path)),
      );
    });
    await finishReplacement(target);
  });
  await options.tokenizer?.save(target); // files of another tokenizer that lay there are brought into line
}

/** Makes a folder and fills it; when that fails, nothing of it is left. */
async function removedOnFailure(folder: string, fill: () => Promise<void>): Promise<void> {
  await mkdir(folder);
  try {
    await fill();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function writeModel(model: Model, directory: string, { tokenizer, ...weights }: SaveModelOptions): Promise<void> {
  await tokenizer?.save(directory);
  await saveConfig(model, directory, weights.dtype ? { dtype: weights.dtype, torch_dtype: weights.dtype } : {});
  await saveWeights(directory, checkpointVariables(model), weights);
}

/** Writes `config.json`, with further `entries`, and `generation_config.json`. */
export async function saveConfig(model: Model, directory: string, entries: HuggingFaceConfig = {}): Promise<void> {
  const origin = origins.get(model);
  const config: HuggingFaceConfig = { ...configOf(model), ...entries, ...origin?.tokenIds };
  if (model.kind === "causal-lm") {
    const generationConfig = origin?.generationConfig ?? Object.fromEntries(tokenIds.map((name) => [name, config[name] ?? null]));
    await writeJson(join(directory, "generation_config.json"), generationConfig);
  }
  await writeFileAtomically(join(directory, "config.json"), configText(config));
}

/**
 * The model of a Hugging Face directory, from here or from Python, in one of the architectures that are known here. Its parameters
 * stay in their files until they are needed, so these must remain as they are (a change is noticed). Floats of 16 and 8 bits are
 * converted.
 *
 * @param source a directory, or the name of a model on the hub (`org/name`, `org/name@revision`), which is downloaded
 * @throws TsumikiError CONFIG for another architecture or a configuration that cannot be followed; CHECKPOINT for parameters
 * that are missing, truncated, foreign or do not fit the configuration, naming every tensor that is wrong; NETWORK where a
 * download fails
 */
export async function loadModel<K extends ModelKind>(
  source: string,
  options: LoadModelOptions<K> & { kind: K },
): Promise<ModelKinds[K]>;
export async function loadModel(source: string, options?: LoadModelOptions): Promise<AnyModel>;
export async function loadModel(source: string, { weights, kind, ...download }: LoadModelOptions = {}): Promise<AnyModel> {
  const directory = await locateModel(source, download);
  await finishReplacement(directory);
  const path = join(directory, "config.json");
  const config = await readJsonObject(path);
  if (config === undefined)
    throw new TsumikiError(
      "CONFIG",
      `${directory} is not a saved model: there is no config.json. ${await describeDirectory(directory)}`,
    );
  const weightsPath = weights ?? (await requireWeights(directory));
  const described = modelFromConfig(config, path, kind);
  // A head of its own beside a configuration that ties it (resized embeddings, a merged adapter): the weights are right, as in transformers.
  const model =
    (await differingRepeats(weightsPath, described.checkpointMatch)).length > 0
      ? modelFromConfig(
          { ...config, tie_word_embeddings: false },
          `${path}, whose weights have an output layer that is not the embedding,`,
          kind,
        )
      : described;
  await openVariables(weightsPath, checkpointVariables(model), model.checkpointMatch);
  origins.set(model, {
    tokenIds: Object.fromEntries(tokenIds.flatMap((name) => (name in config ? [[name, config[name]]] : []))),
    generationConfig: await readJsonObject(join(directory, "generation_config.json")),
  });
  return model;
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
