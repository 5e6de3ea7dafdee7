/** A saved model continues a prompt on standard output. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { generate, type SamplingOptions } from "../generate/index.js";
import { locateModel } from "../hub/locate.node.js";
import { loadModel } from "../models/index.js";
import { loadTokenizer } from "../tokenizer/index.js";
import { RunDirectory } from "../train/run-directory.js";
import { downloadReport } from "./download-progress.js";
import { interruptSignal } from "./interrupt.js";

export interface SpeakOptions extends SamplingOptions {
  readonly maxTokens?: number;
  /** Default: another one each time. */
  readonly seed?: number;
}

/**
 * Prints `prompt` and what follows it, as it comes. `source` is a Hugging Face directory, a run, ended or not, or the name of a
 * model on the hub.
 */
export async function speak(source: string, prompt: string, { seed = randomSeed(), ...options }: SpeakOptions): Promise<void> {
  const signal = interruptSignal();
  const { onProgress, end } = await downloadReport();
  const directory = await locateModel(source, { signal, onProgress }).finally(end);
  const weights = await weightsOf(directory);
  const model = await loadModel(directory, weights === undefined ? {} : { weights });
  const tokenizer = await loadTokenizer(directory);
  process.stdout.write(prompt);
  for await (const piece of generate(model, tokenizer, prompt, { ...options, seed })) {
    process.stdout.write(piece);
    if (signal.aborted) break;
  }
  process.stdout.write("\n");
}

/** Of a run that has not ended: its newest checkpoint. */
async function weightsOf(directory: string): Promise<string | undefined> {
  const exists = (name: string) =>
    stat(join(directory, name)).then(
      () => true,
      () => false,
    );
  if ((await exists("model.safetensors")) || !(await exists("recipe.json"))) return undefined;
  return (await (await RunDirectory.open(directory)).latestCheckpoint())?.modelPath;
}

const randomSeed = (): number => Math.floor(Math.random() * 2 ** 31);
