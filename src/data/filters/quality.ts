/**
 * Rules of thumb that tell prose from what is found on web pages besides, in any language:
 *
 * - `gopherQuality` and `gopherRepetition`: Rae et al. 2021, "Scaling Language Models" (Gopher), appendix A.1.1 and table A1; the rule on
 *   English stop words is left out.
 * - `c4`: Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (T5), section 2.2, what it says about pages; its list of bad
 *   words and what it says about single lines are left out.
 */

import type { Filter, Judge } from "./filter.js";
import { isUnspaced, linesOf, paragraphsOf, wordsOf } from "./words.js";

const judging = (name: string, judge: Judge): Filter => ({ name, remembers: false, start: () => judge });

export interface GopherQualityOptions {
  /** Default 50 and 100,000. */
  readonly minimumWords?: number;
  readonly maximumWords?: number;
}

/** Number and mean length of words, symbols, bullet points, ellipses, words without letters (Gopher, appendix A.1.1). */
export function gopherQuality({ minimumWords = 50, maximumWords = 100_000 }: GopherQualityOptions = {}): Filter {
  return judging("gopher-quality", (text) => {
    const words = wordsOf(text);
    if (words.length < minimumWords) return `fewer than ${minimumWords} words`;
    if (words.length > maximumWords) return `more than ${maximumWords} words`;
    // Where words are single characters, their mean length says nothing.
    const spaced = words.filter((word) => !isUnspaced(word));
    if (2 * spaced.length > words.length) {
      const mean = spaced.reduce((sum, word) => sum + word.length, 0) / spaced.length;
      if (mean < 3) return "words of fewer than 3 characters on average";
      if (mean > 10) return "words of more than 10 characters on average";
    }
    for (const [symbol, pattern] of [
      ["#", /#/g],
      ["…", /\.\.\.|…/g],
    ] as const)
      if (matches(text, pattern) > 0.1 * words.length) return `more than one ${symbol} in ten words`;
    const lines = linesOf(text);
    if (count(lines, /^\s*[-*•●‣·]/) > 0.9 * lines.length) return "more than 90 % of lines begin with a bullet";
    if (count(lines, /(\.\.\.|…)\s*$/) > 0.3 * lines.length) return "more than 30 % of lines end in an ellipsis";
    if (count(words, /\p{L}/u) < 0.8 * words.length) return "fewer than 80 % of words have a letter";
    return undefined;
  });
}

/** The largest share of a text's characters that may lie in the most frequent n words in a row. Gopher, table A1. */
const topNgrams = [
  [2, 0.2],
  [3, 0.18],
  [4, 0.16],
] as const;
/** The same for all n words in a row that stand there more than once. */
const duplicateNgrams = [
  [5, 0.15],
  [6, 0.14],
  [7, 0.13],
  [8, 0.12],
  [9, 0.11],
  [10, 0.1],
] as const;

/** Lines, paragraphs and runs of words that are repeated (Gopher, table A1). */
export function gopherRepetition(): Filter {
  return judging("gopher-repetition", (text) => {
    for (const [what, parts] of [
      ["lines", linesOf(text)],
      ["paragraphs", paragraphsOf(text)],
    ] as const) {
      const { share, characterShare } = repeated(parts);
      if (share > 0.3) return `more than 30 % of ${what} are repeated`;
      if (characterShare > 0.2) return `more than 20 % of characters are in repeated ${what}`;
    }
    const words = wordsOf(text);
    const total = words.reduce((sum, word) => sum + word.length, 0);
    for (const [n, limit] of topNgrams)
      if (topShare(words, n) > limit * total)
        return `more than ${Math.round(100 * limit)} % of characters are in one run of ${n} words`;
    for (const [n, limit] of duplicateNgrams)
      if (duplicateShare(words, n) > limit * total)
        return `more than ${Math.round(100 * limit)} % of characters are in repeated runs of ${n} words`;
    return undefined;
  });
}

export interface C4Options {
  /** Default 3, as in the paper. */
  readonly minimumSentences?: number;
}

/** Placeholder text, source code, too few sentences (T5, section 2.2). */
export function c4({ minimumSentences = 3 }: C4Options = {}): Filter {
  return judging("c4", (text) => {
    if (/lorem ipsum/i.test(text)) return "lorem ipsum";
    if (text.includes("{")) return "a curly bracket, as in source code";
    if (matches(text, /[.!?…。！？｡।؟](?=["'”’)\]」』]*(\s|$))|[。！？｡]/g) < minimumSentences)
      return `fewer than ${minimumSentences} sentences`;
    return undefined;
  });
}

const matches = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
const count = (texts: readonly string[], pattern: RegExp): number => texts.filter((text) => pattern.test(text)).length;

/** Which share of parts, and of their characters, has stood there before. */
function repeated(parts: readonly string[]): { readonly share: number; readonly characterShare: number } {
  const seen = new Set<string>();
  let [again, characters, all] = [0, 0, 0];
  for (const part of parts) {
    const trimmed = part.trim();
    all += trimmed.length;
    if (seen.has(trimmed)) {
      again++;
      characters += trimmed.length;
    }
    seen.add(trimmed);
  }
  return { share: parts.length === 0 ? 0 : again / parts.length, characterShare: all === 0 ? 0 : characters / all };
}

/** Characters in all occurrences of the n words that stand together most often; 0 when none does twice. */
function topShare(words: readonly string[], n: number): number {
  const counts = new Map<string, number>();
  let best: { readonly times: number; readonly gram: string } = { times: 1, gram: "" };
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(" ");
    const times = (counts.get(gram) ?? 0) + 1;
    counts.set(gram, times);
    if (times > best.times || (times === best.times && times > 1 && gram.length > best.gram.length)) best = { times, gram };
  }
  return best.times * (best.gram.length - (best.gram === "" ? 0 : n - 1));
}

/** Characters of words in runs of n that stand there more than once; where runs overlap, once. */
function duplicateShare(words: readonly string[], n: number): number {
  const seen = new Set<string>();
  let characters = 0;
  let counted = 0; // words up to here have been
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(" ");
    if (seen.has(gram))
      for (counted = Math.max(counted, i); counted < i + n; counted++) characters += (words[counted] as string).length;
    seen.add(gram);
  }
  return characters;
}
