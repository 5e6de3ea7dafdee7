/** The objective of a recipe: one that is registered, with its own settings. */

import * as z from "zod";
import "../train/objectives/index.js"; // registers those that come with the package
import { knownObjectives, objectiveNamed } from "../train/objective.js";

const quotedNames = () =>
  knownObjectives()
    .map(({ name }) => JSON.stringify(name))
    .join(" or ");

/** `{ name: "distillation", temperature: 2 }`, with the objective's defaults filled in. */
export const objectiveSchema = z
  .looseObject({ name: z.string("the name of an objective") })
  .transform(({ name, ...settings }, context): { readonly name: string } & Readonly<Record<string, unknown>> => {
    const objective = knownObjectives().find((known) => known.name === name);
    if (!objective) {
      context.addIssue({ code: "custom", path: ["name"], message: quotedNames() });
      return z.NEVER;
    }
    const parsed = objective.settings.safeParse(settings);
    if (parsed.success) return { name, ...(parsed.data as object) };
    for (const issue of parsed.error.issues) context.addIssue(issue as Parameters<typeof context.addIssue>[0]);
    return z.NEVER;
  });

/** The keys that an objective's section may have. */
export function objectiveKeys(name: unknown): string[] {
  const objective = knownObjectives().find((known) => known.name === name);
  const { shape = {} } = (objective?.settings ?? {}) as { readonly shape?: object };
  return ["name", ...Object.keys(shape)];
}

/** Whether it learns from texts or conversations, and so needs data, rows of tokens and a tokenizer. */
export const readsExamples = (name: string): boolean => objectiveNamed(name).accepts.length > 0;

export const companionsOf = (name: string): readonly string[] => objectiveNamed(name).companions ?? [];
