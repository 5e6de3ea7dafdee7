/**
 * Rules of thumb that tell prose from what is found on web pages besides, in any language:
 *
 * - `gopherQuality` and `gopherRepetition`: Rae et al. 2021, "Scaling Language Models" (Gopher), appendix A.1.1 and table A1; the rule on
 *   English stop words is left out.
 * - `c4`: Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (T5), section 2.2, what it says about pages; its list of bad
 *   words and what it says about single lines are left out.
 */

import type { Filter, Judge } from "./filter.js";
import { hash32, mix } from "./hash.js";
import { isUnspaced, linesOf, paragraphsOf, wordsOf } from "./words.js";

const judging = (name: string, version: number, settings: Filter["settings"], judge: Judge): Filter => ({
  ...{ name, version, settings },
  remembers: false,
  start: () => judge,
});

export interface GopherQualityOptions {
  /** Default 50 and 100,000. */
  readonly minimumWords?: number;
  readonly maximumWords?: number;
}

/** Number and mean length of words, symbols, bullet points, ellipses, words without letters (Gopher, appendix A.1.1). */
export function gopherQuality({ minimumWords = 50, maximumWords = 100_000 }: GopherQualityOptions = {}): Filter {
  return judging("gopher-quality", 1, { minimumWords, maximumWords }, (text) => {
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
  return judging("gopher-repetition", 1, {}, (text) => {
    for (const [what, parts] of [
      ["lines", linesOf(text)],
      ["paragraphs", paragraphsOf(text)],
    ] as const) {
      const { share, characterShare } = repeated(parts);
      if (share > 0.3) return `more than 30 % of ${what} are repeated`;
      if (characterShare > 0.2) return `more than 20 % of characters are in repeated ${what}`;
    }
    const words = hashed(wordsOf(text));
    const total = words.charactersBefore.at(-1) as number;
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
  return judging("c4", 1, { minimumSentences }, (text) => {
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

/** A text's words as numbers, for counting runs of them: two runs with one hash are taken for the same. */
interface HashedWords {
  /** [words] */
  readonly hashes: Int32Array;
  /** Characters before each word, and at the end those of all. [words + 1] */
  readonly charactersBefore: Int32Array;
}

function hashed(words: readonly string[]): HashedWords {
  const charactersBefore = new Int32Array(words.length + 1);
  for (const [i, word] of words.entries()) charactersBefore[i + 1] = (charactersBefore[i] as number) + word.length;
  return { hashes: Int32Array.from(words, (word) => hash32(word)), charactersBefore };
}

/** Hashes of the n words from each place on; none is 0. */
function runsOf({ hashes }: HashedWords, n: number): Int32Array {
  const runs = new Int32Array(Math.max(0, hashes.length - n + 1));
  for (let i = 0; i < runs.length; i++) {
    let hash = n;
    for (let k = i; k < i + n; k++) hash = mix(Math.imul(hash, 31) + (hashes[k] as number));
    runs[i] = hash === 0 ? 1 : hash;
  }
  return runs;
}

/** Counts how often each number (but 0) has been asked for, this time included: a hash table with open addressing. */
function occurrences(most: number): (key: number) => number {
  const size = 2 ** Math.ceil(Math.log2(2 * most + 2));
  const keys = new Int32Array(size);
  const counts = new Int32Array(size);
  return (key) => {
    let place = key & (size - 1);
    while (keys[place] !== 0 && keys[place] !== key) place = (place + 1) & (size - 1);
    keys[place] = key;
    counts[place] = (counts[place] as number) + 1;
    return counts[place] as number;
  };
}

/** Characters in all occurrences of the n words that stand together most often; 0 when none does twice. */
function topShare(words: HashedWords, n: number): number {
  const { charactersBefore } = words;
  const runs = runsOf(words, n);
  const occurrence = occurrences(runs.length);
  let [most, characters] = [1, 0];
  for (const [i, run] of runs.entries()) {
    const times = occurrence(run);
    const length = (charactersBefore[i + n] as number) - (charactersBefore[i] as number);
    if (times > most || (times === most && times > 1 && length > characters)) [most, characters] = [times, length];
  }
  return most * characters;
}

/** Characters of words in runs of n that stand there more than once; where runs overlap, once. */
function duplicateShare(words: HashedWords, n: number): number {
  const { charactersBefore } = words;
  const runs = runsOf(words, n);
  const occurrence = occurrences(runs.length);
  let characters = 0;
  let counted = 0; // words up to here have been
  for (const [i, run] of runs.entries()) {
    if (occurrence(run) === 1) continue;
    const from = Math.max(counted, i);
    counted = i + n;
    characters += (charactersBefore[counted] as number) - (charactersBefore[from] as number);
  }
  return characters;
}
