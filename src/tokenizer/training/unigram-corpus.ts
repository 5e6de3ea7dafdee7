/** The words of a text with all pieces that occur in them, for the passes of EM over all segmentations. */

import { Trie } from "../text/trie.js";
import { type WordCounts, wordAt } from "./word-counter.js";

/** Words up to this length are summed as probabilities, longer ones as logarithms, which cannot underflow. [code points] */
const shortWord = 20;
const unknown = -1;

/**
 * Where pieces occur is found once. Arcs are sorted by where they begin; those of place p are `arcs[arcStarts[p], arcStarts[p + 1])`.
 * Every word has one place more than code points, its end, where no arc begins.
 */
export class UnigramCorpus {
  /** Occurrences of all words. */
  readonly wordCount: number;
  private readonly counts: Float64Array;
  /** The first place of each word; one more at the end. */
  private readonly wordStarts: Int32Array;
  private readonly arcStarts: Int32Array;
  private arcPieces: Int32Array;
  private arcLengths: Uint8Array;
  private pieceCount: number;

  constructor(words: WordCounts, tokens: readonly string[]) {
    const trie = new Trie();
    tokens.forEach((token, piece) => void trie.set(token, piece));
    this.pieceCount = tokens.length;
    this.counts = words.counts.slice(0, words.size);
    this.wordCount = this.counts.reduce((sum, count) => sum + count, 0);
    this.wordStarts = new Int32Array(words.size + 1);
    const arcStarts: number[] = [];
    const pieces: number[] = [];
    const lengths: number[] = [];
    for (let word = 0; word < words.size; word++) {
      this.wordStarts[word] = arcStarts.length;
      const text = wordAt(words, word);
      for (let start = 0; start < text.length; start++) {
        if (isLowSurrogate(text, start)) continue;
        arcStarts.push(pieces.length);
        let node = 0;
        let length = 0;
        const before = pieces.length;
        for (let at = start; at < text.length; ) {
          const width = (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
          for (let i = 0; i < width && node >= 0; i++) node = trie.child(node, text.charCodeAt(at++));
          if (node < 0) break;
          length++;
          const piece = trie.value(node);
          if (piece < 0) continue;
          pieces.push(piece);
          lengths.push(length);
        }
        if (lengths[before] !== 1) {
          pieces.push(unknown);
          lengths.push(1);
        }
      }
      arcStarts.push(pieces.length);
    }
    this.wordStarts[words.size] = arcStarts.length;
    arcStarts.push(pieces.length);
    this.arcStarts = Int32Array.from(arcStarts);
    this.arcPieces = Int32Array.from(pieces);
    this.arcLengths = Uint8Array.from(lengths);
  }

  /** Renumbers pieces; those that are not kept are gone. Places without a piece of one character get an unknown one. */
  keep(kept: readonly number[]): void {
    const renumbered = new Int32Array(this.pieceCount).fill(-2);
    kept.forEach((piece, i) => {
      renumbered[piece] = i;
    });
    this.pieceCount = kept.length;
    const { arcStarts, arcPieces, arcLengths } = this;
    let length = 0;
    let from = 0;
    for (let place = 0; place + 1 < arcStarts.length; place++) {
      const to = arcStarts[place + 1] as number;
      const start = length;
      for (let arc = from; arc < to; arc++) {
        const piece = arcPieces[arc] as number;
        const number = piece === unknown ? unknown : (renumbered[piece] as number);
        const isCharacter = arcLengths[arc] === 1;
        if (number === -2 && !isCharacter) continue;
        arcPieces[length] = number === -2 ? unknown : number;
        arcLengths[length++] = arcLengths[arc] as number;
      }
      arcStarts[place] = start;
      from = to;
    }
    arcStarts[arcStarts.length - 1] = length;
    this.arcPieces = arcPieces.slice(0, length);
    this.arcLengths = arcLengths.slice(0, length);
  }

  /** The E step: how often each piece occurs, over all segmentations with their probabilities; log P(text) by word [nats]. */
  expectedCounts(scores: Float64Array, unknownScore: number): { expected: Float64Array; logLikelihood: number } {
    const { wordStarts, arcStarts, arcPieces, arcLengths, counts } = this;
    const expected = new Float64Array(this.pieceCount);
    const probabilities = scores.map(Math.exp);
    const unknownProbability = Math.exp(unknownScore);
    let forward = new Float64Array(64);
    let backward = new Float64Array(64);
    let logLikelihood = 0;
    for (let word = 0; word < counts.length; word++) {
      const first = wordStarts[word] as number;
      const length = (wordStarts[word + 1] as number) - first - 1;
      const count = counts[word] as number;
      if (length > shortWord) {
        logLikelihood += count * this.expectedInLongWord(first, length, count, scores, unknownScore, expected);
        continue;
      }
      if (length >= forward.length) {
        forward = new Float64Array(2 * length);
        backward = new Float64Array(2 * length);
      }
      forward.fill(0, 1, length + 1);
      forward[0] = 1;
      for (let place = 0; place < length; place++) {
        const sum = forward[place] as number;
        const end = arcStarts[first + place + 1] as number;
        for (let arc = arcStarts[first + place] as number; arc < end; arc++) {
          const piece = arcPieces[arc] as number;
          const target = place + (arcLengths[arc] as number);
          forward[target] =
            (forward[target] as number) + sum * (piece < 0 ? unknownProbability : (probabilities[piece] as number));
        }
      }
      const total = forward[length] as number;
      logLikelihood += count * Math.log(total);
      const scale = count / total;
      backward[length] = 1;
      for (let place = length - 1; place >= 0; place--) {
        let sum = 0;
        const before = (forward[place] as number) * scale;
        const end = arcStarts[first + place + 1] as number;
        for (let arc = arcStarts[first + place] as number; arc < end; arc++) {
          const piece = arcPieces[arc] as number;
          const probability = piece < 0 ? unknownProbability : (probabilities[piece] as number);
          const onward = probability * (backward[place + (arcLengths[arc] as number)] as number);
          sum += onward;
          if (piece >= 0) expected[piece] = (expected[piece] as number) + before * onward;
        }
        backward[place] = sum;
      }
    }
    return { expected, logLikelihood: logLikelihood / this.wordCount };
  }

  /** The same for one word, with logarithms. Returns its log-probability. */
  private expectedInLongWord(
    first: number,
    length: number,
    count: number,
    scores: Float64Array,
    unknownScore: number,
    expected: Float64Array,
  ): number {
    const { arcStarts, arcPieces, arcLengths } = this;
    const forward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
    const backward = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
    forward[0] = 0;
    backward[length] = 0;
    const scoreOf = (arc: number) => {
      const piece = arcPieces[arc] as number;
      return piece < 0 ? unknownScore : (scores[piece] as number);
    };
    for (let place = 0; place < length; place++) {
      for (let arc = arcStarts[first + place] as number; arc < (arcStarts[first + place + 1] as number); arc++) {
        const target = place + (arcLengths[arc] as number);
        forward[target] = logAdd(forward[target] as number, (forward[place] as number) + scoreOf(arc));
      }
    }
    const total = forward[length] as number;
    for (let place = length - 1; place >= 0; place--) {
      for (let arc = arcStarts[first + place] as number; arc < (arcStarts[first + place + 1] as number); arc++) {
        const onward = scoreOf(arc) + (backward[place + (arcLengths[arc] as number)] as number);
        backward[place] = logAdd(backward[place] as number, onward);
        const piece = arcPieces[arc] as number;
        if (piece >= 0)
          expected[piece] = (expected[piece] as number) + count * Math.exp((forward[place] as number) + onward - total);
      }
    }
    return total;
  }

  /** How often each piece occurs in the best segmentation of the text (Viterbi 1967). */
  bestCounts(scores: Float64Array, unknownScore: number): Float64Array {
    const { wordStarts, arcStarts, arcPieces, arcLengths, counts } = this;
    const used = new Float64Array(this.pieceCount);
    let best = new Float64Array(64);
    let lengths = new Uint8Array(64);
    let pieces = new Int32Array(64);
    for (let word = 0; word < counts.length; word++) {
      const first = wordStarts[word] as number;
      const length = (wordStarts[word + 1] as number) - first - 1;
      if (length >= best.length) {
        best = new Float64Array(2 * length);
        lengths = new Uint8Array(2 * length);
        pieces = new Int32Array(2 * length);
      }
      best.fill(Number.NEGATIVE_INFINITY, 1, length + 1);
      best[0] = 0;
      for (let place = 0; place < length; place++) {
        const before = best[place] as number;
        const end = arcStarts[first + place + 1] as number;
        for (let arc = arcStarts[first + place] as number; arc < end; arc++) {
          const piece = arcPieces[arc] as number;
          const target = place + (arcLengths[arc] as number);
          const score = before + (piece < 0 ? unknownScore : (scores[piece] as number));
          if (score <= (best[target] as number)) continue;
          best[target] = score;
          lengths[target] = arcLengths[arc] as number;
          pieces[target] = piece;
        }
      }
      for (let place = length; place > 0; place -= lengths[place] as number) {
        const piece = pieces[place] as number;
        if (piece >= 0) used[piece] = (used[piece] as number) + (counts[word] as number);
      }
    }
    return used;
  }
}

const isLowSurrogate = (text: string, at: number): boolean =>
  at > 0 && (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.codePointAt(at - 1) as number) > 0xffff;

function logAdd(x: number, y: number): number {
  const [less, more] = x < y ? [x, y] : [y, x];
  return less === Number.NEGATIVE_INFINITY ? more : more + Math.log1p(Math.exp(less - more));
}
