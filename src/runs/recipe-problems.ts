/** What is wrong with a recipe, in words that name the key, what was given and what is expected. */

import type * as z from "zod";

type Path = readonly PropertyKey[];

/** @param keysAt the keys that an object at a path may have */
export function describeProblems(error: z.ZodError, input: unknown, keysAt: (path: Path) => readonly string[]): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys")
      return issue.keys.map(
        (key) => `${join([...issue.path, key])}: there is no such key; there are ${keysAt(issue.path).join(", ")}`,
      );
    // The schemas' own messages say what is expected; zod's, of which a missing or wrong object has one, begin like this.
    const expected = issue.message.startsWith("Invalid input") ? "an object" : issue.message;
    return [`${join(issue.path)}: ${describe(valueAt(input, issue.path))}, expected ${expected}`];
  });
}

export function describe(given: unknown): string {
  if (given === undefined) return "nothing was given";
  const text = typeof given === "number" ? String(given) : (JSON.stringify(given) ?? String(given));
  return `${text.length > 80 ? `${text.slice(0, 80)}…` : text} was given`;
}

const join = (path: Path): string => (path.length > 0 ? path.join(".") : "the recipe");

const valueAt = (input: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
