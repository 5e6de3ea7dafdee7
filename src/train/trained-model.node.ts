/** Models that are there already: a Hugging Face directory, a run, ended or not, a GGUF file, or a name on the hub (Node). */

import { readdir } from "node:fs/promises";
import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { locateModel } from "../hub/locate.node.js";
import type { CausalLM } from "../models/causal-lm.js";
import { loadModel } from "../models/saved-model.node.js";
import { loadTokenizer } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { RunDirectory } from "./run-directory.js";

/** @param source a directory, a run (its newest checkpoint, where it has not ended), a GGUF file, or `org/name` on the hub */
export async function openTrainedModel(source: string, download: DownloadOptions = {}): Promise<CausalLM> {
  if (isGguf(source)) return (await openGguf(source)).model;
  const directory = await locateModel(source, download);
  const weights = await newestCheckpoint(directory);
  return loadModel(directory, weights === undefined ? {} : { weights });
}

/** The tokenizer that belongs to the model of the same source. @throws TsumikiError TOKENIZER where it has none that is known here */
export async function openTokenizerOf(source: string, download: DownloadOptions = {}): Promise<Tokenizer> {
  if (!isGguf(source)) return loadTokenizer(await locateModel(source, download));
  const { tokenizer } = await openGguf(source);
  if (tokenizer) return tokenizer;
  throw new TsumikiError("TOKENIZER", `${source} has no tokenizer that is known here.`);
}

export const isGguf = (source: string): boolean => source.endsWith(".gguf");

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
