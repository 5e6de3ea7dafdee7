/** The words of a text as sequences of symbols that are joined while a vocabulary is learned. */

import { TsumikiError } from "../../errors.js";
import { byteAlphabet, byteLevelText } from "../byte-alphabet.js";
import { PairTable } from "./pair-table.js";
import { type WordCounts, wordAt } from "./word-counter.js";

export const end = -1;

/** Which tokens there are before anything is merged. */
export interface AlphabetOptions {
  /** They get the first ids. */
  readonly specialTokens: readonly string[];
  /** Words are UTF-8, and the alphabet is the 256 bytes; otherwise it is the characters of the text. */
  readonly byteLevel: boolean;
  /** What marks a symbol that is not the first of its word (WordPiece: `##`). */
  readonly continuingPrefix?: string;
  /** What marks the last symbol of a word (character-level BPE: `</w>`). */
  readonly endOfWordSuffix?: string;
  /** The most characters; the most frequent stay, the others are left out of their words. */
  readonly limitAlphabet?: number;
}

/** All words one after the other, each a doubly linked list of symbols. */
export interface SymbolText {
  /** By id. */
  readonly tokens: string[];
  readonly ids: Map<string, number>;
  /** [places] */
  readonly symbols: Int32Array;
  /** The neighbouring places, or `end` at the borders of a word. [places] */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  /** How often the word that a place belongs to occurs. [places] */
  readonly weights: Float64Array;
  readonly pairs: PairTable;
  /** Symbols in the text, each counted as often as its word. */
  tokenCount: number;
  /** Characters that `limitAlphabet` left out. */
  readonly leftOut: readonly string[];
}

export function symbolText(words: WordCounts, options: AlphabetOptions): SymbolText {
  const { specialTokens, byteLevel, continuingPrefix: prefix = "", endOfWordSuffix: suffix = "" } = options;
  if (byteLevel) for (const token of specialTokens) if (byteAlphabet.includes(token)) throw collision(token);
  const tokens: string[] = [];
  const ids = new Map<string, number>();
  const idOf = (token: string): number => {
    const known = ids.get(token);
    if (known !== undefined) return known;
    ids.set(token, tokens.length);
    return tokens.push(token) - 1;
  };
  for (const token of specialTokens) idOf(token);
  const { kept, leftOut } = byteLevel ? { kept: byteAlphabet, leftOut: [] } : alphabetOf(words, options.limitAlphabet);
  for (const character of kept) idOf(character);
  const alphabet = new Set(kept);

  // Three bytes of UTF-8 are the most that a UTF-16 unit takes.
  const capacity = (words.starts[words.size] as number) * (byteLevel ? 3 : 1);
  const symbols = new Int32Array(capacity);
  const next = new Int32Array(capacity);
  const previous = new Int32Array(capacity);
  const weights = new Float64Array(capacity);
  const marked = new Set<string>();
  const spell = (character: string, isFirst: boolean, isLast: boolean) =>
    `${isFirst ? "" : prefix}${character}${isLast ? suffix : ""}`;
  if (prefix !== "" || suffix !== "") {
    // Marked characters get their ids in order, not as they happen to be met.
    for (let word = 0; word < words.size; word++) {
      const characters = [...wordAt(words, word)].filter((character) => alphabet.has(character));
      characters.forEach((character, i) => void marked.add(spell(character, i === 0, i === characters.length - 1)));
    }
    for (const token of [...marked].sort(byCodePoint)) idOf(token);
  }
  let length = 0;
  let tokenCount = 0;
  for (let word = 0; word < words.size; word++) {
    const first = length;
    const weight = words.counts[word] as number;
    const text = byteLevel ? byteLevelText(wordAt(words, word)) : wordAt(words, word);
    const characters = byteLevel ? text : [...text].filter((character) => alphabet.has(character));
    for (let i = 0; i < characters.length; i++) {
      const character = characters[i] as string;
      symbols[length] = ids.get(byteLevel ? character : spell(character, i === 0, i === characters.length - 1)) as number;
      weights[length] = weight;
      previous[length] = i === 0 ? end : length - 1;
      next[length] = i === characters.length - 1 ? end : length + 1;
      length++;
    }
    tokenCount += weight * (length - first);
  }
  const used = weights.subarray(0, length);
  const pairs = new PairTable(used);
  for (let place = 0; place < length; place++) {
    const right = next[place] as number;
    if (right !== end) pairs.add(pairs.find(symbols[place] as number, symbols[right] as number), place);
  }
  return { tokens, ids, symbols: symbols.subarray(0, length), next, previous, weights: used, pairs, tokenCount, leftOut };
}

const byCodePoint = (a: string, b: string): number => {
  const [first, second] = [[...a], [...b]];
  for (let i = 0; i < Math.min(first.length, second.length); i++) {
    const difference = (first[i]?.codePointAt(0) ?? 0) - (second[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return first.length - second.length;
};

function alphabetOf(
  words: WordCounts,
  limit = Number.POSITIVE_INFINITY,
): { kept: readonly string[]; leftOut: readonly string[] } {
  const counts = new Map<string, number>();
  for (let word = 0; word < words.size; word++) {
    const weight = words.counts[word] as number;
    for (const character of wordAt(words, word)) counts.set(character, (counts.get(character) ?? 0) + weight);
  }
  const byCount = [...counts.keys()].sort((a, b) => (counts.get(b) as number) - (counts.get(a) as number) || byCodePoint(a, b));
  return { kept: byCount.slice(0, limit).sort(byCodePoint), leftOut: byCount.slice(limit) };
}

/** The token of a merge: the prefix of the right one goes. */
export function mergedToken({ tokens }: SymbolText, left: number, right: number, prefix: string): string {
  const tail = tokens[right] as string;
  return `${tokens[left]}${prefix !== "" && tail.startsWith(prefix) ? tail.slice(prefix.length) : tail}`;
}

/**
 * Replaces every occurrence of `pair` by `id`, from left to right.
 * @param gained is called with each pair that came about, perhaps several times
 * @param join whether two symbols may become a pair
 */
export function mergeEverywhere(
  text: SymbolText,
  pair: number,
  id: number,
  gained: (pair: number) => void,
  join: (left: number, right: number) => boolean = () => true,
): void {
  const { symbols, next, previous, weights, pairs } = text;
  const link = (left: number, right: number) => {
    const [first, second] = [symbols[left] as number, symbols[right] as number];
    if (!join(first, second)) return;
    const joined = pairs.find(first, second);
    pairs.add(joined, left);
    gained(joined);
  };
  for (const place of pairs.places(pair)) {
    if (!pairs.has(pair, place)) continue; // in `aaa` the second `aa` went with the first
    const right = next[place] as number;
    const before = previous[place] as number;
    const after = next[right] as number;
    pairs.remove(place);
    if (before !== end) pairs.remove(before);
    if (after !== end) pairs.remove(right);
    symbols[place] = id;
    next[place] = after;
    if (after !== end) previous[after] = place;
    text.tokenCount -= weights[place] as number;
    if (before !== end) link(before, place);
    if (after !== end) link(place, after);
  }
}

export const collision = (token: string) =>
  new TsumikiError(
    "TOKENIZER",
    `The special token ${JSON.stringify(token)} is spelled like the token of a byte or of a merge; choose another spelling, as <|${token}|>.`,
  );
