/** Training as the commands do it: a progress bar or lines, and at the end the curve, samples and what to do next. */

import { relative } from "node:path";
import { generate } from "../generate/index.js";
import { controlsShown } from "../runs/control-pictures.js";
import { RunDirectory } from "../runs/directory.node.js";
import { lossCurveText } from "../runs/loss-curve.js";
import type { RecipeInput } from "../runs/recipe.js";
import { reporterFor } from "../runs/reporter-terminal.node.js";
import { type RunResult, type RunTrainingOptions, runTraining } from "../runs/training.node.js";
import { formatDuration } from "../train/reporter.js";
import { describeValidation } from "../train/train.js";
import { interruptSignal } from "./interrupt.js";

/** What to type, besides the name of the run, to go on with it and to use it. */
export interface Advice {
  readonly goOn: string;
  readonly next: readonly string[];
}

/** Trains and prints to standard output. `recipe` may be left out where a run is resumed. */
export async function trainAndReport(
  recipe: RecipeInput | undefined,
  options: Pick<RunTrainingOptions, "directory" | "resume" | "overwrite" | "allowEngineChange">,
  advise: (directory: string) => Advice,
): Promise<RunResult> {
  const where = shortPath(options.directory);
  const result = await runTraining(recipe, {
    ...options,
    generate,
    signal: interruptSignal(),
    reporter: reporterFor(process.stdout),
  });
  const { goOn, next } = advise(where);
  if (result.stopped) {
    console.log(
      `\nStopped after step ${result.steps} of ${result.recipe.training.steps}; saved in ${where}. Go on with: ${goOn}`,
    );
    return result;
  }
  const metrics = await (await RunDirectory.open(options.directory)).metrics();
  console.log(`\n${lossCurveText(metrics, { width: Math.min(process.stdout.columns ?? 80, 100) })}`);
  if (result.validation) {
    const summary = describeValidation(result.validation, result.unit);
    console.log(`\n${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.`);
  }
  console.log(`Trained for ${formatDuration(result.seconds)} (minutes:seconds).`);
  for (const { prompt, text } of result.samples) printSample(prompt, text);
  console.log(`\nSaved in ${where}:`);
  for (const line of savedFiles) console.log(`  ${line}`);
  console.log("\nNext:");
  for (const line of next) console.log(`  ${line}`);
  return result;
}

const savedFiles = [
  "model.safetensors, config.json, tokenizer.json   the model; Python's transformers opens the folder",
  "loss.svg, metrics.jsonl                          the loss curve, and every number behind it",
  "samples/, checkpoints/, recipe.json              what it said on the way, where it can go on, how it was made",
];

function printSample(prompt: string, text: string): void {
  console.log(`\n--- ${JSON.stringify(prompt)}\n${controlsShown(prompt + text)}`);
}

/** A path as a person in this folder would type it. */
function shortPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere === "" ? "." : fromHere.startsWith("..") ? path : fromHere;
}
