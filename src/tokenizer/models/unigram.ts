/** Encoding with a unigram language model of tokens (Kudo 2018): the most probable segmentation, or one drawn from several. */

import { TsumikiError } from "../../errors.js";
import { Trie } from "../text/trie.js";
import { TrieAutomaton } from "../text/trie-automaton.js";
import type { TokenizerJson } from "../tokenizer-json.js";
import { UnknownCharacterError } from "../unknown-character.js";
import { nBest, type Path, type SegmentationLattice, sample } from "./lattice.js";
import { byteFallback, type SubwordModel, type TokenList, Vocabulary } from "./model.js";

/** What an unknown character costs below the least probable token [nats]. */
export const unknownPenalty = 10;
const none = -1;
/** Vocabularies with longer tokens, which SentencePiece does not make, are searched in another way. [UTF-16 units] */
const longestWalk = 256;
/** Arrays for pieces up to here are kept for the next piece. [UTF-16 units] */
const keptLength = 1 << 16;

/** A segmentation of a piece and its probability. */
export interface Segmentation {
  readonly ids: readonly number[];
  /** [UTF-16 units] */
  readonly ends: readonly number[];
  readonly logProbability: number;
}

export interface UnigramModel extends SubwordModel {
  /** The `count` most probable segmentations of `piece`, the best first. */
  nBest(piece: string, count: number): Segmentation[];
  /**
   * A segmentation drawn with probability ∝ P(x)^alpha (Kudo 2018, §3.2), from the `count` best, or from all where `count` is
   * not given (forward filtering, backward sampling). `random` gives numbers from 0 up to 1.
   */
  sample(piece: string, options: { alpha: number; count?: number; random: () => number }): Segmentation;
}

export function unigramModel(model: TokenizerJson["model"]): UnigramModel {
  const entries = model.vocab as readonly (readonly [string, number])[];
  const vocabulary = new Vocabulary(new Map(entries.map(([token], id) => [token, id])));
  const unknown = typeof model.unk_id === "number" ? model.unk_id : none;
  if (typeof model.unk_id === "number" && !(Number.isInteger(unknown) && unknown >= 0 && unknown < entries.length))
    throw new TsumikiError(
      "TOKENIZER",
      `unk_id is ${unknown}, but the vocabulary of this tokenizer.json has ${entries.length} tokens.`,
    );
  const scores = Float64Array.from(entries, ([, score]) => score);
  const lowest = scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY);
  const unknownScore = lowest - unknownPenalty;
  const trie = new Trie();
  for (const [token, id] of vocabulary.ids) trie.set(token, id);
  const bytes = model.byte_fallback === true ? byteFallback(vocabulary) : undefined;

  // The best path to each place of a piece; the arrays are used again, unless they are very long. Scores are needed no farther back
  // than the longest token reaches: place p has score `best[p & mask]`.
  const longest = entries.reduce((most, [token]) => Math.max(most, token.length), 2);
  const lengths = Int32Array.from(entries, ([token]) => token.length);
  const automaton = longest > longestWalk ? new TrieAutomaton(trie) : undefined;
  const best = new Float64Array(2 ** Math.ceil(Math.log2(longest + 1)));
  const mask = best.length - 1;
  let bestId = new Int32Array(keptLength + 1);
  let bestStart = new Int32Array(keptLength + 1);

  /** The tokens of the best path, once `bestStart[i]` is where the token that starts at i ends. */
  const emit = (piece: string, tokens: TokenList): void => {
    for (let start = 0; start < piece.length; ) {
      let end = bestStart[start] as number;
      const id = bestId[end] as number;
      if (id !== unknown) tokens.push(id, end);
      else {
        // Unknown characters side by side are one token.
        while (end < piece.length && bestId[bestStart[end] as number] === unknown) end = bestStart[end] as number;
        const text = piece.slice(start, end);
        const whole = vocabulary.ids.get(text);
        const inBytes = whole === undefined ? bytes?.(text) : undefined;
        if (inBytes) for (const byte of inBytes) tokens.push(byte, end, start);
        else tokens.push(whole ?? unknown, end);
      }
      start = end;
    }
  };

  const needUnknown = (piece: string, at: number): void => {
    if (unknown !== none) return;
    throw new UnknownCharacterError(String.fromCodePoint(piece.codePointAt(at) as number), entries.length);
  };

  // These are called often and are short, so they are compiled soon: a thread that encodes its first megabyte is cold for most of it.
  const offer = (start: number, end: number, id: number, score: number): void => {
    if (bestStart[end] !== none && score <= (best[end & mask] as number)) return;
    best[end & mask] = score;
    bestStart[end] = start;
    bestId[end] = id;
  };

  /** Offers all tokens that begin at `start`. Whether one of them is the single character that ends at `afterCharacter`. */
  const extend = (piece: string, start: number, afterCharacter: number): boolean => {
    const before = best[start & mask] as number;
    let knowsCharacter = false;
    let node = 0;
    for (let at = start; at < piece.length; ) {
      node = trie.child(node, piece.charCodeAt(at++));
      if (node < 0) break;
      const id = trie.value(node);
      if (id < 0) continue;
      offer(start, at, id, before + (scores[id] as number));
      if (at === afterCharacter) knowsCharacter = true;
    }
    return knowsCharacter;
  };

  /** The same search, from the ends of tokens: a trie's walk from each start would take as long as the longest token each time. */
  const extendByEnds = (piece: string, automaton: TrieAutomaton): void => {
    let node = 0;
    for (let end = 1, start = 0; end <= piece.length; end++) {
      const unit = piece.charCodeAt(end - 1);
      node = automaton.next(node, unit);
      let knowsCharacter = false;
      for (let key = automaton.firstKey(node); key > 0; key = automaton.nextKey(key)) {
        const id = trie.value(key);
        const from = end - (lengths[id] as number);
        if (from !== 0 && bestStart[from] === none) continue; // inside a character
        offer(from, end, id, (best[from & mask] as number) + (scores[id] as number));
        if (from === start) knowsCharacter = true;
      }
      if (unit >= 0xd800 && unit < 0xdc00 && end < piece.length) continue; // half a character
      if (!knowsCharacter) {
        needUnknown(piece, start);
        offer(start, end, unknown, (best[start & mask] as number) + unknownScore);
      }
      start = end;
    }
  };

  const encode = (piece: string, tokens: TokenList): void => {
    const { length } = piece;
    const isLong = length > keptLength;
    if (isLong || bestId.length > keptLength + 1) {
      bestId = new Int32Array((isLong ? length : keptLength) + 1);
      bestStart = new Int32Array(bestId.length);
    }
    bestStart.fill(none, 0, length + 1);
    best[0] = 0;
    if (automaton) extendByEnds(piece, automaton);
    for (let start = automaton ? length : 0; start < length; ) {
      const width = (piece.codePointAt(start) as number) > 0xffff ? 2 : 1;
      if (!extend(piece, start, start + width)) {
        needUnknown(piece, start);
        offer(start, start + width, unknown, (best[start & mask] as number) + unknownScore);
      }
      start += width;
    }
    // Turned around on the spot: from where each token starts to where it ends.
    for (let end = length, after = length; end > 0; ) {
      const start = bestStart[end] as number;
      bestStart[end] = after;
      after = end;
      end = start;
      if (end === 0) bestStart[0] = after;
    }
    emit(piece, tokens);
  };

  const lattice = (piece: string): SegmentationLattice => {
    const arcs: SegmentationLattice["arcs"] = [];
    for (let start = 0; start < piece.length; ) {
      const width = (piece.codePointAt(start) as number) > 0xffff ? 2 : 1;
      let knowsCharacter = false;
      let node = 0;
      for (let at = start; at < piece.length; ) {
        node = trie.child(node, piece.charCodeAt(at++));
        if (node < 0) break;
        const id = trie.value(node);
        if (id < 0) continue;
        arcs.push({ start, end: at, id, score: scores[id] as number });
        if (at - start === width) knowsCharacter = true;
      }
      if (!knowsCharacter) {
        needUnknown(piece, start);
        arcs.push({ start, end: start + width, id: unknown, score: unknownScore });
      }
      start += width;
    }
    return { length: piece.length, arcs };
  };

  const segmentation = ({ arcs, score }: Path): Segmentation => ({
    ids: arcs.map(({ id }) => id),
    ends: arcs.map(({ end }) => end),
    logProbability: score,
  });

  return {
    size: vocabulary.size,
    spelledId: unknown,
    encode,
    nBest: (piece, count) => nBest(lattice(piece), count).map(segmentation),
    sample(piece, { alpha, count, random }) {
      return segmentation(sample(lattice(piece), { alpha, random, ...(count === undefined ? {} : { count }) }));
    },
    tokenToId: (token) => vocabulary.ids.get(token),
    idToToken: (id) => vocabulary.token(id),
  };
}
