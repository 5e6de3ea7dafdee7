/** Encoding with a unigram language model of tokens (Kudo 2018): the most probable segmentation, or one drawn from several. */

import { TsumikiError } from "../../errors.js";
import type { TokenizerJson } from "../tokenizer-json.js";
import { UnknownCharacterError } from "../unknown-character.js";
import { nBest, type Path, type SegmentationLattice, sample } from "./lattice.js";
import { byteFallbackIds, type SubwordModel, type TokenList, Vocabulary } from "./model.js";
import { Trie } from "./trie.js";

/** What an unknown character costs below the least probable token [nats]. */
export const unknownPenalty = 10;
const none = -1;

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
  if (unknown >= entries.length)
    throw new TsumikiError(
      "TOKENIZER",
      `unk_id is ${unknown}, but the vocabulary of this tokenizer.json has ${entries.length} tokens.`,
    );
  const scores = Float64Array.from(entries, ([, score]) => score);
  const lowest = scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY);
  const unknownScore = lowest - unknownPenalty;
  const trie = new Trie();
  for (const [token, id] of vocabulary.ids) trie.set(token, id);
  const bytes = model.byte_fallback === true ? byteFallbackIds(vocabulary) : undefined;
  const encoder = new TextEncoder();

  // The best path to each place of a piece; the arrays are used again.
  let best = new Float64Array(64);
  let bestId = new Int32Array(64);
  let bestStart = new Int32Array(64);

  const emit = (piece: string, path: readonly number[], tokens: TokenList): void => {
    for (let i = 0; i < path.length; ) {
      const [id, start, end] = [path[i] as number, path[i + 1] as number, path[i + 2] as number];
      i += 3;
      if (id !== unknown) {
        tokens.push(id, end);
        continue;
      }
      let last = end; // unknown characters side by side are one token
      while (i < path.length && path[i] === unknown) {
        last = path[i + 2] as number;
        i += 3;
      }
      const text = piece.slice(start, last);
      const whole = vocabulary.ids.get(text);
      if (whole === undefined && bytes) for (const byte of encoder.encode(text)) tokens.push(bytes[byte] as number, last);
      else tokens.push(whole ?? unknown, last);
    }
  };

  const needUnknown = (piece: string, at: number): void => {
    if (unknown !== none) return;
    throw new UnknownCharacterError(String.fromCodePoint(piece.codePointAt(at) as number), entries.length);
  };

  const encode = (piece: string, tokens: TokenList): void => {
    const { length } = piece;
    if (length >= best.length) {
      best = new Float64Array(2 * length);
      bestId = new Int32Array(2 * length);
      bestStart = new Int32Array(2 * length);
    }
    bestStart.fill(none, 0, length + 1);
    best[0] = 0;
    for (let start = 0; start < length; ) {
      const before = best[start] as number;
      const width = (piece.codePointAt(start) as number) > 0xffff ? 2 : 1;
      let knowsCharacter = false;
      let node = 0;
      for (let at = start; at < length; ) {
        node = trie.child(node, piece.charCodeAt(at++));
        if (node < 0) break;
        const id = trie.value(node);
        if (id < 0) continue;
        const score = (scores[id] as number) + before;
        if (bestStart[at] === none || score > (best[at] as number)) {
          best[at] = score;
          bestStart[at] = start;
          bestId[at] = id;
        }
        if (at - start === width) knowsCharacter = true;
      }
      if (!knowsCharacter) {
        needUnknown(piece, start);
        const at = start + width;
        const score = unknownScore + before;
        if (bestStart[at] === none || score > (best[at] as number)) {
          best[at] = score;
          bestStart[at] = start;
          bestId[at] = unknown;
        }
      }
      start += width;
    }
    const path: number[] = [];
    for (let end = length; end > 0; end = bestStart[end] as number)
      path.push(end, bestStart[end] as number, bestId[end] as number);
    emit(piece, path.reverse(), tokens);
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
    encode,
    nBest: (piece, count) => nBest(lattice(piece), count).map(segmentation),
    sample(piece, { alpha, count, random }) {
      return segmentation(sample(lattice(piece), { alpha, random, ...(count === undefined ? {} : { count }) }));
    },
    tokenToId: (token) => vocabulary.ids.get(token),
    idToToken: (id) => vocabulary.token(id),
  };
}
