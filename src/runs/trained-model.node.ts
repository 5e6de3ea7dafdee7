/** Models that are there already: a Hugging Face directory, a run, ended or not, a GGUF file, or a name on the hub (Node). */

import { readdir } from "node:fs/promises";
import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { locateModel } from "../hub/locate.node.js";
import type { CausalLM } from "../models/causal-lm.js";
import { loadModel } from "../models/saved-model.node.js";
import { loadTokenizer } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { RunDirectory } from "./directory.node.js";

export interface TrainedModel {
  readonly model: CausalLM;
  /** The one that it was trained with. @throws TsumikiError TOKENIZER where there is none that is known here */
  openTokenizer(): Promise<Tokenizer>;
}

/** @param source a directory, a run (its newest checkpoint, where it has not ended), a GGUF file, or `org/name` on the hub */
export async function openTrainedModel(source: string, download: DownloadOptions = {}): Promise<TrainedModel> {
  if (isGguf(source)) {
    const { model, tokenizer } = await openGguf(source);
    return { model, openTokenizer: async () => known(tokenizer, source) };
  }
  const directory = await locateModel(source, download);
  const weights = await newestCheckpoint(directory);
  const model = await loadModel(directory, weights === undefined ? {} : { weights });
  return { model, openTokenizer: () => loadTokenizer(directory) };
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
async function newestCheckpoint(directory: string): Promise<string | undefined> {
  const names = await readdir(directory).catch((): string[] => []);
  if (names.includes("model.safetensors") || !names.includes("recipe.json")) return undefined;
  return (await (await RunDirectory.open(directory)).latestCheckpoint())?.modelPath;
}
