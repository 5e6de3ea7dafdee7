/** Options of a stage of `tokenizer.json`, read with an error that names the stage where one is missing or of another kind. */

import { TsumikiError } from "../errors.js";
import type { Stage } from "./tokenizer-json.js";

export const stageError = ({ type }: Stage, fault: string): TsumikiError =>
  new TsumikiError("TOKENIZER", `The stage ${type} of this tokenizer.json ${fault}.`);

const shown = (value: unknown): string => (value === undefined ? "missing" : JSON.stringify(value).slice(0, 80));

/** The stages that a Sequence lists under `key`. */
export function stagesOption(stage: Stage, key: string): readonly Stage[] {
  const list = stage[key];
  const areStages =
    Array.isArray(list) &&
    list.every((item: unknown) => typeof item === "object" && item !== null && typeof (item as Stage).type === "string");
  if (areStages) return list as Stage[];
  throw stageError(stage, `must have a list of stages in ${key}, but that is ${shown(list)}`);
}

/** @param fallback for a missing option or null; without one the option is required */
export function textOption(stage: Stage, key: string, fallback?: string): string {
  const value = stage[key] ?? fallback;
  if (typeof value === "string") return value;
  throw stageError(stage, `must have a text as ${key}, but that is ${shown(value)}`);
}

/** A single character. */
export function characterOption(stage: Stage, key: string, fallback?: string): string {
  const value = textOption(stage, key, fallback);
  if ([...value].length === 1) return value;
  throw stageError(stage, `must have one character as ${key}, but that is ${shown(value)}`);
}

export function countOption(stage: Stage, key: string, least: number, fallback?: number): number {
  const value = stage[key] ?? fallback;
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
  throw stageError(stage, `must have a whole number of at least ${least} as ${key}, but that is ${shown(value)}`);
}
