/** One recipe over another. */

import type { RecipeInput } from "./recipe.js";

type Section = Readonly<Record<string, unknown>>;

/** Keys of which each says what the others in its section mean: where the upper recipe has another one, the lower section goes. */
const kinds: Readonly<Record<string, readonly string[]>> = {
  data: ["corpus", "files"],
  tokenizer: ["model"],
  model: ["architecture"],
};

/** What `above` says, and what `below` says of the rest, key by key. */
export function mergeRecipes(below: RecipeInput, above: RecipeInput): RecipeInput {
  const merged: Record<string, unknown> = { ...below };
  // Prompts are made for a text.
  if (below.samples && isAnotherKind("data", below.data, above.data)) {
    const { prompts: _, ...samples } = below.samples;
    merged.samples = samples;
  }
  for (const [name, section] of Object.entries(above)) {
    const lower = merged[name];
    merged[name] = isSection(section) && isSection(lower) ? mergeSections(name, lower, section) : section;
  }
  return merged;
}

function mergeSections(name: string, below: Section, above: Section): Section {
  if (!isAnotherKind(name, below, above)) return { ...below, ...above };
  // A validation share fits any data.
  return name === "data" && "validationShare" in below ? { validationShare: below.validationShare, ...above } : above;
}

function isAnotherKind(name: string, below: Section = {}, above: Section = {}): boolean {
  return (kinds[name] ?? []).some((key) => above[key] !== undefined && above[key] !== below[key]);
}

const isSection = (value: unknown): value is Section => typeof value === "object" && value !== null && !Array.isArray(value);
