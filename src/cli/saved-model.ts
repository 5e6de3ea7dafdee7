/** A model that a command works with: of a directory, a GGUF file, or of the hub with its download shown. */

import { TsumikiError } from "../errors.js";
import type { CausalLM } from "../models/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { downloadReport } from "./download-progress.js";
import { interruptSignal } from "./interrupt.js";

const isGguf = (source: string): boolean => source.endsWith(".gguf");

export async function openModel(source: string, revision?: string): Promise<CausalLM> {
  if (isGguf(source)) return (await openGguf(source)).model;
  const { loadModel } = await import("../models/index.js");
  const { onProgress, end } = await downloadReport();
  return loadModel(source, { onProgress, signal: interruptSignal(), ...(revision === undefined ? {} : { revision }) }).finally(
    end,
  );
}

/** The model and the tokenizer of a saved model, of a run's newest checkpoint, of a GGUF file. */
export async function openWithTokenizer(source: string): Promise<{ readonly model: CausalLM; readonly tokenizer: Tokenizer }> {
  if (isGguf(source)) {
    const { model, tokenizer } = await openGguf(source);
    if (tokenizer) return { model, tokenizer };
    throw new TsumikiError("TOKENIZER", `${source} has no tokenizer that is known here.`);
  }
  const { locateModel } = await import("../hub/locate.node.js");
  const { loadModel } = await import("../models/index.js");
  const { loadTokenizer } = await import("../tokenizer/index.js");
  const { onProgress, end } = await downloadReport();
  const directory = await locateModel(source, { signal: interruptSignal(), onProgress }).finally(end);
  const weights = await newestCheckpoint(directory);
  const model = await loadModel(directory, weights === undefined ? {} : { weights });
  return { model, tokenizer: await loadTokenizer(directory) };
}

async function openGguf(source: string) {
  const { importGguf } = await import("../gguf/index.js");
  return importGguf(source);
}

/** Of a run that has not ended. */
async function newestCheckpoint(directory: string): Promise<string | undefined> {
  const { readdir } = await import("node:fs/promises");
  const names = await readdir(directory).catch((): string[] => []);
  if (names.includes("model.safetensors") || !names.includes("recipe.json")) return undefined;
  const { RunDirectory } = await import("../train/run-directory.js");
  return (await (await RunDirectory.open(directory)).latestCheckpoint())?.modelPath;
}
