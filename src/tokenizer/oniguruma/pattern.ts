/**
 * Patterns of `tokenizer.json`: they are written for Oniguruma, which Hugging Face's tokenizers use. `oniguruma-parser` reads them; the
 * matcher is our own, since the regular expressions of JavaScript know other versions of Unicode, cannot be stopped and have no possessive
 * quantifiers.
 */

import { toOnigurumaAst } from "oniguruma-parser";
import { TsumikiError } from "../../errors.js";
import { compile } from "./compile.js";
import { Machine } from "./machine.js";

/** Calls `visit` with the ranges of the matches in order, empty ones too. [UTF-16 units] */
export type Matcher = (text: string, visit: (start: number, end: number) => void) => void;

/** Patterns are short; a stranger's could be made to fill the memory. [UTF-16 units] */
const longestPattern = 1 << 14;

/** `{"String": ...}` or `{"Regex": ...}`. */
export function patternOf(pattern: unknown): Matcher {
  const { String: literal, Regex: source } = (pattern ?? {}) as { String?: unknown; Regex?: unknown };
  if (typeof literal === "string" && literal !== "") return literalMatcher(literal);
  const text = literal === "" ? "" : source;
  if (typeof text !== "string")
    throw new TsumikiError(
      "TOKENIZER",
      `A pattern in this tokenizer.json is neither a String nor a Regex: ${JSON.stringify(pattern)}.`,
    );
  return regexMatcher(text);
}

export function regexMatcher(source: string): Matcher {
  try {
    if (source.length > longestPattern) throw new Error(`it has more than ${longestPattern} characters`);
    const { program, first } = compile(toOnigurumaAst(source));
    const machine = new Machine(program, source.length > 200 ? `${source.slice(0, 200)}…` : source, first);
    return (text, visit) => machine.forEachMatch(text, visit);
  } catch (cause) {
    const fault = cause instanceof RangeError ? "it nests groups too deeply" : (cause as Error).message;
    throw new TsumikiError(
      "TOKENIZER",
      `The pattern ${source.slice(0, 200)} of this tokenizer.json cannot be used here: ${fault}.`,
      { cause },
    );
  }
}

export const literalMatcher =
  (literal: string): Matcher =>
  (text, visit) => {
    for (let at = text.indexOf(literal); at !== -1; at = text.indexOf(literal, at + literal.length))
      visit(at, at + literal.length);
  };
