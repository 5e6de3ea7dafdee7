import { describe, expect, it } from "vitest";
import { migrateRecipe, migrateSavedRecipe } from "./recipe-migrations.js";

describe("a recipe of version 1", () => {
  it("has its z-loss among the objective's settings", () => {
    expect(migrateRecipe({ data: {}, training: { steps: 3, zLoss: 0.1 } })).toEqual({
      data: {},
      training: { steps: 3 },
      objective: { name: "causal-lm", zLoss: 0.1 },
    });
    const now = { version: 2, training: { steps: 3 } };
    expect(migrateRecipe(now)).toBe(now);
  });

  it("of a run keeps reading all rows of its corpus, and a new one those that are not for testing", () => {
    const recipe = { data: { corpus: "names" }, training: {} };
    expect(migrateSavedRecipe(recipe)).toEqual({ data: { corpus: "names", corpusRows: "all" }, training: {} });
    expect(migrateSavedRecipe({ ...recipe, version: 2 })).toEqual({ ...recipe, version: 2 });
    expect(migrateRecipe(recipe)).toBe(recipe);
  });
});
