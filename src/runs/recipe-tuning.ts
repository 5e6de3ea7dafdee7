/** The tuning method of a recipe: one that is registered, with its own settings. */

import * as z from "zod";
import { type TuningSettings, tuningMethods } from "../tuning/index.js";

const methodNamed = (name: unknown) => tuningMethods().find((method) => method.name === name);

/** `{ method: "lora", rank: 8 }`, with the method's defaults filled in. */
export const tuningSchema = z
  .looseObject({ method: z.string("the name of a tuning method") })
  .transform(({ method: name, ...settings }, context): TuningSettings => {
    const method = methodNamed(name);
    if (!method) {
      const known = tuningMethods().map((one) => JSON.stringify(one.name));
      context.addIssue({ code: "custom", path: ["method"], message: known.join(" or ") });
      return z.NEVER;
    }
    const parsed = method.settings.safeParse(settings);
    if (parsed.success) return { method: name, ...(parsed.data as object) };
    for (const issue of parsed.error.issues) context.addIssue(issue as Parameters<typeof context.addIssue>[0]);
    return z.NEVER;
  });

/** The keys that a method's section may have. */
export const tuningKeys = (name: unknown): string[] => ["method", ...Object.keys(methodNamed(name)?.settings.shape ?? {})];
