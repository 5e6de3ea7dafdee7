/** Learning the merges of byte-level byte pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019, §2.2). */

import { TsumikiError } from "../errors.js";
import { alphabetBytes, byteAlphabet } from "./byte-alphabet.js";
import { PairHeap } from "./pair-heap.js";
import { PairTable } from "./pair-table.js";

export interface BytePairVocabulary {
  /** By id: special tokens, the 256 bytes, what the merges made; bytes are written in the visible alphabet. */
  readonly tokens: readonly string[];
  /** The pairs of ids that were merged, in order. */
  readonly merges: readonly (readonly [left: number, right: number])[];
}

/**
 * Merges the most frequent pair of neighbouring symbols until there are `vocabSize` tokens or no pair is left. Of equally frequent
 * pairs the one with the smaller left id goes first, then the one with the smaller right id, as in Hugging Face's Rust trainer.
 *
 * @param words the pre-tokens of a text and how often each occurs; pairs do not cross their borders
 */
export function learnBytePairs(
  words: ReadonlyMap<string, number>,
  vocabSize: number,
  specialTokens: readonly string[],
): BytePairVocabulary {
  for (const token of specialTokens) if (byteAlphabet.includes(token)) throw collision(token);
  const tokens = [...specialTokens, ...byteAlphabet];
  const merges: [number, number][] = [];
  const text = symbolsOf(words, specialTokens.length);
  const { symbols } = text;
  const pairs = new PairTable(text.weights);
  for (let place = 0; place < symbols.length; place++) {
    const next = text.next[place] as number;
    if (next !== end) pairs.add(pairs.find(symbols[place] as number, symbols[next] as number), place);
  }
  const heap = new PairHeap(pairs);
  for (let pair = 0; pair < pairs.size; pair++) heap.push(pair, pairs.count[pair] as number);

  while (tokens.length < vocabSize) {
    const top = heap.pop();
    if (top === undefined) break;
    const { pair } = top;
    const count = pairs.count[pair] as number;
    if (count !== top.count) {
      if (count > 0) heap.push(pair, count);
      continue;
    }

    const left = pairs.left[pair] as number;
    const right = pairs.right[pair] as number;
    // Occurrences of the same bytes whose ends no merge has crossed have gone through the same merges: no other pair makes these bytes.
    const merged = `${tokens[left]}${tokens[right]}`;
    if (specialTokens.includes(merged)) throw collision(merged);
    const id = tokens.push(merged) - 1;
    merges.push([left, right]);
    for (const changed of mergeEverywhere(text, pairs, pair, id)) {
      if ((pairs.count[changed] as number) > 0) heap.push(changed, pairs.count[changed] as number);
    }
  }
  return { tokens, merges };
}

const end = -1;

/** All words one after the other, each a doubly linked list of symbols. */
interface SymbolText {
  /** [places] */
  readonly symbols: Int32Array;
  /** The neighbouring places, or `end` at the borders of a word. */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  /** How often the word that a place belongs to occurs. */
  readonly weights: Int32Array;
}

function symbolsOf(words: ReadonlyMap<string, number>, firstByteId: number): SymbolText {
  const idOfByte = new Int32Array(256);
  alphabetBytes.forEach((byte, index) => {
    idOfByte[byte] = firstByteId + index;
  });
  let bound = 0;
  for (const word of words.keys()) bound += 3 * word.length; // a UTF-16 unit takes at most three bytes of UTF-8
  const bytes = new Uint8Array(bound);
  const encoder = new TextEncoder();
  const ends: number[] = [];
  let length = 0;
  for (const word of words.keys()) {
    length += encoder.encodeInto(word, bytes.subarray(length)).written;
    ends.push(length);
  }
  const symbols = new Int32Array(length);
  const weights = new Int32Array(length);
  const next = new Int32Array(length);
  const previous = new Int32Array(length);
  const counts = [...words.values()];
  let start = 0;
  ends.forEach((wordEnd, word) => {
    for (let place = start; place < wordEnd; place++) {
      symbols[place] = idOfByte[bytes[place] as number] as number;
      weights[place] = counts[word] as number;
      next[place] = place + 1 < wordEnd ? place + 1 : end;
      previous[place] = place > start ? place - 1 : end;
    }
    start = wordEnd;
  });
  return { symbols, next, previous, weights };
}

/** Replaces every occurrence of `pair` by `id`, from left to right, and returns the pairs that gained occurrences. */
function mergeEverywhere(text: SymbolText, pairs: PairTable, pair: number, id: number): Set<number> {
  const { symbols, next, previous } = text;
  const gained = new Set<number>();
  const join = (left: number, right: number) => {
    const joined = pairs.find(symbols[left] as number, symbols[right] as number);
    pairs.add(joined, left);
    gained.add(joined);
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
    if (before !== end) join(before, place);
    if (after !== end) join(place, after);
  }
  return gained;
}

const collision = (token: string) =>
  new TsumikiError(
    "TOKENIZER",
    `The special token ${JSON.stringify(token)} is spelled like the token of a byte or of a merge; choose another spelling, as <|${token}|>.`,
  );
