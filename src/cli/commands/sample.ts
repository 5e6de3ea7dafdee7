/** `tsumiki sample`: what a trained model makes of a prompt. */

import type { Command } from "commander";
import { ArgumentError } from "../../errors.js";
import { revisionFlag } from "../revision-flag.js";

interface SampleFlags {
  readonly maxTokens: string;
  readonly temperature: string;
  readonly topK?: string;
  readonly topP?: string;
  readonly seed?: string;
  readonly revision?: string;
}

export function register(program: Command): void {
  program
    .command("sample")
    .description("let a model continue a text")
    .argument(
      "<model>",
      "a run, a Hugging Face directory with a tokenizer.json, a GGUF file, or the name of a model on the hub (org/name)",
    )
    .argument("[prompt]", "what to continue (default: the first prompt of the run's recipe)")
    .option("--max-tokens <number>", "the most tokens to add", "100")
    .option("--temperature <number>", "below 1 sharper, above 1 flatter, 0 always the likeliest", "0.8")
    .option("--top-k <number>", "choose among the k likeliest tokens only")
    .option("--top-p <number>", "choose among the likeliest tokens that together reach this probability")
    .option("--seed <number>", "equal seeds give equal texts (default: another one each time)")
    .option(...revisionFlag)
    .action(sample);
}

async function sample(folder: string, prompt: string | undefined, flags: SampleFlags): Promise<void> {
  const { maxTokens, temperature, topK, topP, seed, revision } = flags;
  const numbers = Object.entries({ maxTokens, temperature, topK, topP, seed }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, number(name, value)]],
  );
  const { speak } = await import("../speaking.js");
  await speak(folder, prompt ?? (await firstPrompt(folder)), { ...Object.fromEntries(numbers), revision });
}

async function firstPrompt(folder: string): Promise<string> {
  const { runProgress } = await import("../../runs/progress.node.js");
  const prompt = (await runProgress(folder))?.recipe.samples.prompts?.[0];
  if (prompt === undefined) throw new ArgumentError(`Give a text to continue: tsumiki sample ${folder} "Once upon a time"`);
  return prompt;
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  const flag = name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
  throw new ArgumentError(`--${flag} takes a number, but ${JSON.stringify(text)} was given.`);
}
