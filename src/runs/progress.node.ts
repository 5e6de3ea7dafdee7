/** How far a run has come, from its directory alone. */

import type { ValidationMetrics } from "../train/trainer.js";
import { entriesOf } from "./checkpoints.node.js";
import { RunDirectory } from "./directory.node.js";
import { type Recipe, savedRecipeSchema } from "./recipe.js";

export interface RunProgress {
  readonly recipe: Recipe;
  /** Steps that a checkpoint has behind it. */
  readonly steps: number;
  /** Whether all steps are done and the model is saved. */
  readonly finished: boolean;
  /** The last one, if there was one. */
  readonly validation: ValidationMetrics | undefined;
}

/** The progress of the run in a directory; undefined where there is none. */
export async function runProgress(directory: string): Promise<RunProgress | undefined> {
  const entries = await entriesOf(directory);
  if (!entries.includes("recipe.json")) return undefined;
  const run = await RunDirectory.open(directory);
  const recipe = await run.readRecipe(savedRecipeSchema);
  const steps = (await run.latestCheckpoint())?.step ?? 0;
  const finished = steps === recipe.training.steps && hasWeights(entries);
  return { recipe, steps, finished, validation: await lastValidation(run) };
}

/** Whether a model was saved here at the end, in one file or in several. */
export const hasWeights = (entries: readonly string[]): boolean =>
  entries.includes("model.safetensors") || entries.includes("model.safetensors.index.json");

export async function lastValidation(run: RunDirectory): Promise<ValidationMetrics | undefined> {
  const row = (await run.metrics()).findLast(({ validationLoss }) => typeof validationLoss === "number");
  if (!row) return undefined;
  const named = Object.entries(row).flatMap(([key, value]): [string, number][] => {
    const [, first, rest] = /^validation([A-Z])(\w*)$/.exec(key) ?? [];
    if (first === undefined || key === "validationLoss" || typeof value !== "number") return [];
    return [[`${first.toLowerCase()}${rest}`, value]];
  });
  return { step: row.step, loss: row.validationLoss ?? Number.NaN, metrics: Object.fromEntries(named) };
}
