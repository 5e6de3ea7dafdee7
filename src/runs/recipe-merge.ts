/** One recipe over another. */

import { type PresetName, presets } from "../tokenizer/training/presets.js";
import type { RecipeInput } from "./recipe.js";

type Section = Readonly<Record<string, unknown>>;

/** Keys of which each says what the others in its section mean: where the upper recipe has another one, the lower section goes. */
const kinds: Readonly<Record<string, readonly string[]>> = {
  data: ["corpus", "files"],
  tokenizer: ["model"],
  model: ["architecture"],
  objective: ["name"],
  tuning: ["method"],
};

/** What `above` says, and what `below` says of the rest, key by key. */
export function mergeRecipes(below: RecipeInput, above: RecipeInput): RecipeInput {
  const merged: Record<string, unknown> = { ...below };
  // Prompts are made for a text.
  if (below.samples && isAnotherKind("data", below.data, above.data)) {
    const { prompts: _, ...samples } = below.samples;
    merged.samples = samples;
  }
  // A saved model brings its tokenizer.
  if (above.model?.architecture === "saved" && isAnotherKind("model", below.model, above.model)) delete merged.tokenizer;
  for (const [name, given] of Object.entries(above)) {
    const section = name === "tokenizer" && isSection(given) ? withModel(given) : given;
    const lower = merged[name];
    merged[name] = isSection(section) && isSection(lower) ? mergeSections(name, lower, section) : section;
  }
  return merged;
}

function mergeSections(name: string, below: Section, above: Section): Section {
  if (!isAnotherKind(name, below, above)) return { ...below, ...above };
  // A validation share fits any data, and a number of tokens any model of subwords.
  if (name === "data" && "validationShare" in below) return { validationShare: below.validationShare, ...above };
  if (name === "tokenizer" && [below, above].every(({ model }) => subwordModels.includes(model)) && "vocabSize" in below)
    return { vocabSize: below.vocabSize, ...above };
  return above;
}

const subwordModels: readonly unknown[] = ["bpe", "wordpiece", "unigram"];

/** The name of a well-known tokenizer says which model it has. */
function withModel(tokenizer: Section): Section {
  const { model, preset } = tokenizer;
  if (model !== undefined || typeof preset !== "string" || !Object.hasOwn(presets, preset)) return tokenizer;
  return { model: presets[preset as PresetName].model, ...tokenizer };
}

function isAnotherKind(name: string, below: Section = {}, above: Section = {}): boolean {
  return (kinds[name] ?? []).some((key) => above[key] !== undefined && above[key] !== below[key]);
}

const isSection = (value: unknown): value is Section => typeof value === "object" && value !== null && !Array.isArray(value);
