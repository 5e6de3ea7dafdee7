/** What tells two recipes apart, and whether a run may go on under the other one. */

import type { Recipe } from "./recipe.js";

export interface RecipeChange {
  /** `training.learningRate` */
  readonly key: string;
  readonly from: unknown;
  readonly to: unknown;
  /** Whether the run may be resumed with it: it goes on as it would have, but for the rounding of another engine and a longer schedule. */
  readonly harmless: boolean;
}

/** Keys, or sections, that decide what is shown and kept and where it is computed, not what is computed. */
const harmlessKeys = [
  "version",
  "training.validateEvery",
  "training.saveEvery",
  "training.validationBatches",
  "samples",
  "engine",
];

export function recipeChanges(from: Recipe, to: Recipe): RecipeChange[] {
  const [before, after] = [leaves(from), leaves(to)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => JSON.stringify(before.get(key)) !== JSON.stringify(after.get(key)))
    .map((key) => ({
      key,
      from: before.get(key),
      to: after.get(key),
      harmless:
        harmlessKeys.some((harmless) => key === harmless || key.startsWith(`${harmless}.`)) ||
        (key === "training.steps" && Number(after.get(key)) > Number(before.get(key))), // a run can be extended
    }));
}

/** `training.steps: 600 → 800` */
export const describeChange = ({ key, from, to }: RecipeChange): string => `${key}: ${show(from)} → ${show(to)}`;

const show = (value: unknown): string => (value === undefined ? "not given" : JSON.stringify(value));

/** Values by the path of their keys; a list counts as a value. */
function leaves(value: unknown, path = ""): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return new Map([[path, value]]);
  return new Map(Object.entries(value).flatMap(([key, inner]) => [...leaves(inner, path ? `${path}.${key}` : key)]));
}
