/** The ways in which pre-tokenizers cut. */

import { TsumikiError } from "../../errors.js";
import type { Matcher } from "../oniguruma/pattern.js";
import { characterClass, characterClasses } from "../text/characters.js";
import type { Cutter } from "./scanners.js";

export const splitBehaviors = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type SplitBehavior = (typeof splitBehaviors)[number];

export function splitBehavior(name: unknown): SplitBehavior {
  const behavior = splitBehaviors.find((known) => known === name);
  if (behavior) return behavior;
  throw new TsumikiError(
    "TOKENIZER",
    `A pre-tokenizer of this tokenizer.json splits with behavior ${String(name)}, which is not known here.`,
  );
}

/** Every character that has one of the bits is a match of its own. */
export const characterMatcher =
  (bits: number): Matcher =>
  (text, visit) => {
    const classes = characterClasses();
    for (let at = 0; at < text.length; ) {
      const code = text.codePointAt(at) as number;
      const next = at + (code > 0xffff ? 2 : 1);
      if (((classes[code] as number) & bits) !== 0) visit(at, next);
      at = next;
    }
  };

/** Cuts around matches, and at empty ones; `invert` makes what lies between them the matches. */
export function cutAround(matcher: Matcher, behavior: SplitBehavior, invert = false): Cutter {
  return (text, visit) => {
    const parts: { start: number; end: number; isMatch: boolean }[] = [];
    let at = 0;
    matcher(text, (start, end) => {
      if (start > at) parts.push({ start: at, end: start, isMatch: invert });
      parts.push({ start, end, isMatch: !invert });
      at = end;
    });
    if (at < text.length) parts.push({ start: at, end: text.length, isMatch: invert });
    for (const { start, end } of joined(parts, behavior)) if (end > start) visit(start, end);
  };
}

interface Part {
  readonly start: number;
  readonly end: number;
  readonly isMatch: boolean;
}

function joined(parts: readonly Part[], behavior: SplitBehavior): readonly Part[] {
  switch (behavior) {
    case "Isolated":
      return parts;
    case "Removed":
      return parts.filter(({ isMatch }) => !isMatch);
    case "Contiguous":
      return join(parts, (before, part) => before.isMatch === part.isMatch);
    case "MergedWithPrevious":
      return join(parts, (before, part) => part.isMatch && !before.isMatch);
    case "MergedWithNext":
      return join([...parts].reverse(), (before, part) => part.isMatch && !before.isMatch).reverse();
  }
}

/** Joins neighbours where `together` says so of a part and the one before it. */
function join(parts: readonly Part[], together: (before: Part, part: Part) => boolean): Part[] {
  const result: Part[] = [];
  let before: Part | undefined;
  for (const part of parts) {
    const last = result.at(-1);
    if (before && last && together(before, part))
      result[result.length - 1] = { ...last, start: Math.min(last.start, part.start), end: Math.max(last.end, part.end) };
    else result.push(part);
    before = part;
  }
  return result;
}

/** White space goes, punctuation stands alone (BERT). */
export const cutLikeBert: Cutter = (text, visit) => {
  const classes = characterClasses();
  let start = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at) as number;
    const next = at + (code > 0xffff ? 2 : 1);
    const bits = classes[code] as number;
    if ((bits & (characterClass.whiteSpace | characterClass.punctuation)) !== 0) {
      if (at > start) visit(start, at);
      if ((bits & characterClass.punctuation) !== 0) visit(at, next);
      start = next;
    }
    at = next;
  }
  if (text.length > start) visit(start, text.length);
};

/** `\w+|[^\w\s]+`, with what the regex crate takes for `\w`. */
export const cutWordsAndSymbols: Cutter = (text, visit) => {
  const classes = characterClasses();
  const kindOf = (code: number) => {
    const bits = classes[code] as number;
    return (bits & characterClass.word) !== 0 ? "word" : (bits & characterClass.whiteSpace) !== 0 ? "space" : "symbol";
  };
  let start = 0;
  let kind = "space";
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at) as number;
    const here = kindOf(code);
    if (here !== kind) {
      if (kind !== "space") visit(start, at);
      start = at;
      kind = here;
    }
    at += code > 0xffff ? 2 : 1;
  }
  if (kind !== "space") visit(start, text.length);
};

/** Before each occurrence of `mark`, which goes with what follows; marks in a row stand alone but the last (Metaspace). */
export const cutBefore =
  (mark: string): Cutter =>
  (text, visit) => {
    let start = 0;
    for (let at = text.indexOf(mark, mark.length); at !== -1; at = text.indexOf(mark, at + mark.length)) {
      if (at > start) visit(start, at);
      start = at;
    }
    if (text.length > start) visit(start, text.length);
  };

export const cutEvery =
  (length: number): Cutter =>
  (text, visit) => {
    let start = 0;
    let count = 0;
    for (let at = 0; at < text.length; ) {
      at += (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
      if (++count < length && at < text.length) continue;
      visit(start, at);
      start = at;
      count = 0;
    }
  };
