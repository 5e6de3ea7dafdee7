/** What the files of all of Python's peft's methods have in common. */

import { Model } from "../models/model.js";
import type { Module } from "../nn/module.js";

/** Before the names of all tensors. */
export const peftPrefix = "base_model.model.";

/** `task_type` of the kinds that peft has a class for. */
export function taskOf(model: Module): string | null {
  const tasks: Readonly<Record<string, string>> = {
    "causal-lm": "CAUSAL_LM",
    "sequence-classifier": "SEQ_CLS",
    encoder: "FEATURE_EXTRACTION",
  };
  return (model instanceof Model && tasks[model.kind]) || null;
}

/** Whether a module is meant by a list of the ends of names, or by a regular expression of whole names. */
export function nameMatches(wanted: unknown, name: string): boolean {
  if (typeof wanted === "string") return new RegExp(`^(?:${wanted})$`).test(name);
  return Array.isArray(wanted) && wanted.some((end) => name === end || name.endsWith(`.${end}`));
}
