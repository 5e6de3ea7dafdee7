/** Learning the merges of byte pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019, §2.2). */

import { PairHeap } from "./pair-heap.js";
import { type AlphabetOptions, collision, mergedToken, mergeEverywhere, symbolText } from "./symbol-text.js";
import type { WordCounts } from "./word-counter.js";

export interface BytePairOptions extends AlphabetOptions {
  /** Tokens in all; fewer where no pair is left. */
  readonly vocabSize: number;
  /** Pairs that occur less often are not merged. Default 1. */
  readonly minFrequency?: number;
  /** The most characters (bytes, when byte-level) of a token. */
  readonly maxTokenLength?: number;
}

export interface BytePairVocabulary {
  /** By id: special tokens, the alphabet, what the merges made. Bytes are written in the visible alphabet. */
  readonly tokens: readonly string[];
  /** The pairs of ids that were merged, in order. */
  readonly merges: readonly (readonly [left: number, right: number])[];
  /** Characters that `limitAlphabet` left out. */
  readonly leftOut: readonly string[];
}

/** One merge: what it joins, what it gains, what it costs. */
export interface MergeStep {
  readonly kind: "merge";
  readonly left: string;
  readonly right: string;
  readonly token: string;
  /** The new token's id: the vocabulary then has one token more. */
  readonly id: number;
  /** How often the pair stood in the text: the text becomes so many tokens shorter. */
  readonly count: number;
  /** The text's length afterwards [tokens]. */
  readonly textLength: number;
  /** WordPiece by likelihood: by how much log P(text) rises [nats]. */
  readonly gain?: number;
}

/**
 * Merges the most frequent pair of neighbouring symbols until there are `vocabSize` tokens or no pair is left, one merge a step. Of
 * equally frequent pairs the one with the smaller left id goes first, then the one with the smaller right id, as in Hugging Face's
 * Rust trainer.
 *
 * @param words the pieces of a text and how often each occurs; pairs do not cross their borders
 */
export function* bytePairSteps(words: WordCounts, options: BytePairOptions): Generator<MergeStep, BytePairVocabulary, void> {
  const { vocabSize, specialTokens, minFrequency = 1, maxTokenLength = Number.POSITIVE_INFINITY } = options;
  const prefix = options.continuingPrefix ?? "";
  const text = symbolText(words, options);
  const { tokens, ids, pairs } = text;
  const special = new Set(specialTokens);
  const merges: [number, number][] = [];
  // As Rust counts: characters of the text, and only for tokens that merges make.
  const lengths = tokens.map(() => 1);
  const fits = (left: number, right: number) =>
    maxTokenLength === Number.POSITIVE_INFINITY || (lengths[left] as number) + (lengths[right] as number) < maxTokenLength;
  const heap = new PairHeap(pairs);
  for (let pair = 0; pair < pairs.size; pair++) heap.push(pair, pairs.count[pair] as number);
  /** The merge at which a pair was pushed last. */
  let pushedAt = new Int32Array(1024).fill(-1);

  while (tokens.length < vocabSize) {
    const top = heap.pop();
    if (top === undefined) break;
    const { pair } = top;
    const count = pairs.count[pair] as number;
    if (count !== top.count) {
      if (count > 0) heap.push(pair, count);
      continue;
    }
    if (count < minFrequency || count === 0) break;

    const left = pairs.left[pair] as number;
    const right = pairs.right[pair] as number;
    const token = mergedToken(text, left, right, prefix);
    if (special.has(token)) throw collision(token);
    const known = ids.get(token);
    const id = known ?? tokens.push(token) - 1;
    if (known === undefined) {
      ids.set(token, id);
      lengths[id] = (lengths[left] as number) + (lengths[right] as number);
    }
    merges.push([left, right]);
    const gained: number[] = [];
    mergeEverywhere(
      text,
      pair,
      id,
      (joined) => {
        if (joined >= pushedAt.length) {
          const larger = new Int32Array(joined * 2).fill(-1);
          larger.set(pushedAt);
          pushedAt = larger;
        }
        if (pushedAt[joined] === merges.length) return;
        pushedAt[joined] = merges.length;
        gained.push(joined);
      },
      fits,
    );
    for (const joined of gained) if ((pairs.count[joined] as number) > 0) heap.push(joined, pairs.count[joined] as number);
    yield {
      kind: "merge",
      left: tokens[left] as string,
      right: tokens[right] as string,
      token,
      id,
      count,
      textLength: text.tokenCount,
    };
  }
  return { tokens, merges, leftOut: text.leftOut };
}
