/** Recipes of earlier versions, put into the words of today's. */

type Section = Readonly<Record<string, unknown>>;

/** What `recipe.json` says in `version` from now on. */
export const recipeVersion = 2;

const isSection = (value: unknown): value is Section => typeof value === "object" && value !== null && !Array.isArray(value);

/** Version 1, which had no number, knew one objective, and its z-loss stood among the settings of training. */
function fromVersion1(recipe: Section): Section {
  const { training, objective, ...rest } = recipe;
  if (!isSection(training) || !("zLoss" in training)) return recipe;
  const { zLoss, ...others } = training;
  return { ...rest, training: others, objective: { name: "causal-lm", zLoss, ...(isSection(objective) ? objective : {}) } };
}

/** The recipe of a run: what version 1 began with all rows of a corpus, test rows included, goes on with them. */
export function migrateSavedRecipe<T extends object>(recipe: T): T {
  const { data, version = 1 } = recipe as { readonly data?: unknown; readonly version?: unknown };
  const saved =
    version === 1 && isSection(data) && data.corpus !== undefined ? { ...recipe, data: { corpusRows: "all", ...data } } : recipe;
  return migrateRecipe(saved) as T;
}

/** The recipe as today's schema has it; whatever else is wrong with it, the schema says. */
export function migrateRecipe<T extends object>(recipe: T): T {
  if (!isSection(recipe)) return recipe;
  const { version = 1 } = recipe as { readonly version?: unknown };
  return (version === 1 ? fromVersion1(recipe) : recipe) as T;
}
