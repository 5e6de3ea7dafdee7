/** Models that are there already: a Hugging Face directory, a run, ended or not, a GGUF file, or a name on the hub (Node). */

import { readdir } from "node:fs/promises";
import { loadVariables } from "../checkpoint/variables.node.js";
import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { locateModel } from "../hub/locate.node.js";
import type { Model, ModelKind, ModelKinds } from "../models/model.js";
import { type LoadModelOptions, loadModel } from "../models/saved-model.node.js";
import { loadTokenizer } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { applyTuning } from "../tuning/index.js";
import type { Checkpoint } from "./checkpoints.node.js";
import { RunDirectory } from "./directory.node.js";
import { hasWeights } from "./progress.node.js";
import { savedRecipeSchema } from "./recipe.js";

export interface TrainedModel<K extends ModelKind = ModelKind> {
  readonly model: ModelKinds[K];
  /** The one that it was trained with. @throws TsumikiError TOKENIZER where there is none that is known here */
  openTokenizer(): Promise<Tokenizer>;
}

/**
 * @param source a directory, a run (its newest checkpoint, where it has not ended), a GGUF file, or `org/name` on the hub
 * @param options.kind what the model is to be used as; default: what its configuration says
 */
export async function openTrainedModel<K extends ModelKind = ModelKind>(
  source: string,
  options: LoadModelOptions<K> = {},
): Promise<TrainedModel<K>> {
  if (isGguf(source)) {
    const { model, tokenizer } = await openGguf(source);
    if (options.kind !== undefined && options.kind !== model.kind)
      throw new TsumikiError("CONFIG", `${source} is a ${model.kind}, and not a ${options.kind}.`);
    return { model: model as ModelKinds[K], openTokenizer: async () => known(tokenizer, source) };
  }
  const directory = await locateModel(source, options);
  const checkpoint = await newestCheckpoint(directory);
  const weights = checkpoint?.modelPath;
  const { kind } = options;
  const model = await loadModel(directory, { ...(kind && { kind }), ...(weights === undefined ? {} : { weights }) });
  if (checkpoint) await putAdapterOn(model, directory, checkpoint);
  return { model: model as ModelKinds[K], openTokenizer: () => loadTokenizer(directory) };
}

/** The tokenizer that belongs to the model of the same source. @throws TsumikiError TOKENIZER where it has none that is known here */
export async function openTokenizerOf(source: string, download: DownloadOptions = {}): Promise<Tokenizer> {
  if (!isGguf(source)) return loadTokenizer(await locateModel(source, download));
  return known((await openGguf(source)).tokenizer, source);
}

function known(tokenizer: Tokenizer | undefined, source: string): Tokenizer {
  if (tokenizer) return tokenizer;
  throw new TsumikiError("TOKENIZER", `${source} has no tokenizer that is known here.`);
}

const isGguf = (source: string): boolean => source.endsWith(".gguf");

async function openGguf(source: string) {
  const { importGguf } = await import("../gguf/index.js");
  return importGguf(source);
}

/** Of a run that has not ended. */
async function newestCheckpoint(directory: string): Promise<Checkpoint | undefined> {
  const names = await readdir(directory).catch((): string[] => []);
  if (hasWeights(names) || !names.includes("recipe.json")) return undefined;
  return (await RunDirectory.open(directory)).latestCheckpoint();
}

/** The adapter of a run that tunes, as far as it was trained. */
async function putAdapterOn(model: Model, directory: string, { adapterPath }: Checkpoint): Promise<void> {
  const { tuning, training } = await (await RunDirectory.open(directory)).readRecipe(savedRecipeSchema);
  if (!tuning) return;
  const adapter = applyTuning(model, tuning, { seed: training.seed });
  await loadVariables(adapterPath, adapter.variables());
}
