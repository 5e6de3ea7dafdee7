/** A saved model continues a prompt on standard output. */

import { generate, type SamplingOptions } from "../generate/index.js";
import { controlsShown } from "../runs/control-pictures.js";
import { interruptSignal } from "./interrupt.js";
import { openWithTokenizer } from "./saved-model.js";

export interface SpeakOptions extends SamplingOptions {
  readonly maxTokens?: number;
  /** Default: another one each time. */
  readonly seed?: number;
  /** Of a model on the hub. Default: main. */
  readonly revision?: string | undefined;
}

/**
 * Prints `prompt` and what follows it, as it comes. `source` is a Hugging Face directory, a run, ended or not, a GGUF file or the
 * name of a model on the hub.
 */
export async function speak(
  source: string,
  prompt: string,
  { seed = randomSeed(), revision, ...options }: SpeakOptions,
): Promise<void> {
  const signal = interruptSignal();
  const { model, tokenizer } = await openWithTokenizer(source, revision);
  // A file or another program gets what the model said, byte by byte.
  const shown = process.stdout.isTTY ? controlsShown : (text: string) => text;
  process.stdout.write(shown(prompt));
  for await (const piece of generate(model, tokenizer, prompt, { ...options, seed })) {
    process.stdout.write(shown(piece));
    if (signal.aborted) break;
  }
  process.stdout.write("\n");
}

const randomSeed = (): number => Math.floor(Math.random() * 2 ** 31);
