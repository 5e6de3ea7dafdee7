/**
 * Learning a Unigram vocabulary (Kudo 2018, §3.2): from many frequent substrings, those are dropped again and again whose loss costs the
 * likelihood of the text least. The steps and their constants are those of SentencePiece and of Hugging Face's Rust trainer.
 */

import { TsumikiError } from "../../errors.js";
import { unknownPenalty } from "../models/unigram.js";
import { Trie } from "../text/trie.js";
import { boundary, seedPieces } from "./seed-pieces.js";
import { UnigramCorpus } from "./unigram-corpus.js";
import { type WordCounts, wordAt } from "./word-counter.js";

export interface UnigramOptions {
  /** Tokens in all, special ones included. */
  readonly vocabSize: number;
  readonly specialTokens: readonly string[];
  /** What unknown characters become; it gets an id of its own when it is not among the special tokens. */
  readonly unknownToken: string;
  /** What a round of pruning leaves of the pieces. Default 0.75. */
  readonly shrinkingFactor?: number;
  /** Rounds of EM before each pruning. Default 2. */
  readonly subIterations?: number;
  /** The longest piece [code points]. Default 16. */
  readonly maxPieceLength?: number;
  /** Substrings to begin with, at most. Default 1,000,000. */
  readonly seedSize?: number;
}

export interface UnigramVocabulary {
  /** By id. */
  readonly pieces: readonly (readonly [token: string, logProbability: number])[];
  readonly unknownId: number;
}

/** What one step of training did. */
export type UnigramStep =
  | { readonly kind: "seed"; readonly pieces: number }
  /** One round of EM: log P(text) in nats by word of the text, before it; pieces that are left after it. */
  | { readonly kind: "em"; readonly pieces: number; readonly logLikelihood: number }
  /** Pieces that were dropped, with what their loss costs log P(text) by word [nats]; the least costly first, 100 at most. */
  | {
      readonly kind: "prune";
      readonly pieces: number;
      readonly dropped: number;
      readonly cheapest: readonly { readonly token: string; readonly loss: number }[];
    };

interface Pieces {
  readonly tokens: string[];
  /** Log-probabilities. */
  readonly scores: Float64Array;
}

export function* unigramSteps(words: WordCounts, options: UnigramOptions): Generator<UnigramStep, UnigramVocabulary, void> {
  const { vocabSize, shrinkingFactor = 0.75, subIterations = 2, maxPieceLength = 16, seedSize = 1_000_000 } = options;
  const characters = characterCounts(words);
  if (characters.size > vocabSize)
    throw new TsumikiError(
      "TOKENIZER",
      `The text has ${characters.size} different characters, more than a vocabulary of ${vocabSize} tokens can hold. Give a larger vocabSize.`,
    );
  let pieces = seeds(words, characters, maxPieceLength, seedSize);
  const corpus = new UnigramCorpus(words, pieces.tokens);
  yield { kind: "seed", pieces: pieces.tokens.length };
  const wanted = Math.floor((vocabSize * 11) / 10);

  for (;;) {
    for (let round = 0; round < subIterations; round++) {
      const { expected, logLikelihood } = corpus.expectedCounts(pieces.scores, unknownScore(pieces));
      const { kept, scores } = maximized(expected);
      pieces = { tokens: kept.map((piece) => pieces.tokens[piece] as string), scores };
      corpus.keep(kept);
      yield { kind: "em", pieces: pieces.tokens.length, logLikelihood };
    }
    if (pieces.tokens.length <= wanted) break;
    const size = Math.max(wanted, Math.floor(pieces.tokens.length * shrinkingFactor));
    const { kept, cheapest } = pruned(pieces, corpus, size);
    const dropped = pieces.tokens.length - kept.length;
    pieces = { tokens: kept.map((piece) => pieces.tokens[piece] as string), scores: pieces.scores.filter(among(kept)) };
    corpus.keep(kept);
    yield { kind: "prune", pieces: kept.length, dropped, cheapest };
    if (dropped === 0) break; // what is left has no other segmentation
  }
  return finished(pieces, characters, options);
}

const among = (kept: readonly number[]) => {
  const set = new Set(kept);
  return (_: number, index: number) => set.has(index);
};

function characterCounts(words: WordCounts): Map<string, number> {
  const counts = new Map<string, number>();
  for (let word = 0; word < words.size; word++) {
    const weight = words.counts[word] as number;
    for (const character of wordAt(words, word)) counts.set(character, (counts.get(character) ?? 0) + weight);
  }
  return counts;
}

function seeds(words: WordCounts, characters: ReadonlyMap<string, number>, longest: number, most: number): Pieces {
  const text: number[] = [];
  for (let word = 0; word < words.size; word++) {
    for (const character of wordAt(words, word)) text.push((character.codePointAt(0) as number) + 1); // no character is a boundary
    text.push(boundary);
  }
  const codes = Int32Array.from(text);
  const substrings = seedPieces(codes, longest, Math.max(0, most - characters.size));
  const single = [...characters].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const spell = (start: number, length: number) =>
    String.fromCodePoint(...Array.from(codes.subarray(start, start + length), (code) => code - 1));
  const counted: [string, number][] = [
    ...single,
    ...substrings.map(({ start, length, score }): [string, number] => [spell(start, length), score]),
  ];
  const total = Math.log(counted.reduce((sum, [, count]) => sum + count, 0));
  return { tokens: counted.map(([token]) => token), scores: Float64Array.from(counted, ([, count]) => Math.log(count) - total) };
}

const unknownScore = ({ scores }: Pieces): number =>
  scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) - unknownPenalty;

/** The M step, with a sparse prior (Liang & Klein 2007): log c becomes ψ(c); pieces that are hardly used go. */
function maximized(expected: Float64Array): { kept: number[]; scores: Float64Array } {
  const kept: number[] = [];
  let sum = 0;
  expected.forEach((count, piece) => {
    if (count < 0.5) return;
    kept.push(piece);
    sum += count;
  });
  const total = digamma(sum);
  return { kept, scores: Float64Array.from(kept, (piece) => digamma(expected[piece] as number) - total) };
}

/** ψ(x), the derivative of log Γ, by its recurrence and asymptotic series. */
function digamma(x: number): number {
  let result = 0;
  let at = x;
  for (; at < 7; at++) result -= 1 / at;
  at -= 1 / 2;
  const square = 1 / (at * at);
  const fourth = square * square;
  return (
    result +
    Math.log(at) +
    (1 / 24) * square -
    (7 / 960) * fourth +
    (31 / 8064) * fourth * square -
    (127 / 30720) * fourth * fourth
  );
}

/**
 * The pieces to keep: all that the text cannot do without, and of the others those whose loss would cost most. What a piece costs is
 * estimated as if its occurrences became its second best segmentation, other things being equal.
 */
function pruned(pieces: Pieces, corpus: UnigramCorpus, size: number) {
  const { tokens, scores } = pieces;
  const alternatives = secondBestSegmentations(pieces);
  const counts = corpus.bestCounts(scores, unknownScore(pieces));
  const sum = counts.reduce((total, count) => total + count, 0);
  const kept: number[] = [];
  const candidates: { piece: number; loss: number }[] = [];
  tokens.forEach((_, piece) => {
    const count = counts[piece] as number;
    const alternative = alternatives[piece];
    const isSplit = alternative === "split";
    if (count === 0 && isSplit) return; // the best segmentation of the text never uses it
    if (alternative === undefined || isSplit) kept.push(piece);
    else if (count > 0) {
      const before = Math.log(count) - Math.log(sum);
      const sumAfter = Math.log(sum + count * (alternative.length - 1));
      const after = alternative.reduce((total, part) => total + Math.log((counts[part] as number) + count) - sumAfter, 0);
      candidates.push({ piece, loss: (count / corpus.wordCount) * (before - after) });
    }
  });
  candidates.sort((a, b) => b.loss - a.loss);
  const room = Math.max(0, size - kept.length);
  kept.push(...candidates.slice(0, room).map(({ piece }) => piece));
  const cheapest = candidates
    .slice(room)
    .reverse()
    .slice(0, 100)
    .map(({ piece, loss }) => ({ token: tokens[piece] as string, loss }));
  return { kept: kept.sort((a, b) => a - b), cheapest };
}

/** Of each piece: its best segmentation into others; undefined where there is none; "split" where that is better than the piece itself. */
function secondBestSegmentations({ tokens, scores }: Pieces): (readonly number[] | "split" | undefined)[] {
  const trie = new Trie();
  tokens.forEach((token, piece) => void trie.set(token, piece));
  return tokens.map((token, whole) => {
    const best = new Float64Array(token.length + 1).fill(Number.NEGATIVE_INFINITY);
    const by = new Int32Array(token.length + 1);
    const from = new Int32Array(token.length + 1);
    best[0] = 0;
    for (let start = 0; start < token.length; start++) {
      if (best[start] === Number.NEGATIVE_INFINITY) continue;
      let node = 0;
      for (let at = start; at < token.length; ) {
        node = trie.child(node, token.charCodeAt(at++));
        if (node < 0) break;
        const piece = trie.value(node);
        if (piece < 0 || piece === whole) continue;
        const score = (best[start] as number) + (scores[piece] as number);
        if (score <= (best[at] as number)) continue;
        best[at] = score;
        by[at] = piece;
        from[at] = start;
      }
    }
    const score = best[token.length] as number;
    if (score === Number.NEGATIVE_INFINITY) return undefined;
    if (score > (scores[whole] as number)) return "split";
    const parts: number[] = [];
    for (let at = token.length; at > 0; at = from[at] as number) parts.push(by[at] as number);
    return parts.reverse();
  });
}

/** All characters of the text, then the most probable pieces, up to the size that was asked for. */
function finished(pieces: Pieces, characters: ReadonlyMap<string, number>, options: UnigramOptions): UnigramVocabulary {
  const { vocabSize, specialTokens, unknownToken } = options;
  const named = specialTokens.includes(unknownToken) ? specialTokens : [unknownToken, ...specialTokens];
  const room = vocabSize - named.length;
  const scores = new Map(pieces.tokens.map((token, piece) => [token, pieces.scores[piece] as number]));
  const least = pieces.scores.reduce((lowest, score) => Math.min(lowest, score), 0);
  const special = new Set(named);
  let penalty = 0;
  const chosen: [string, number][] = [...characters.keys()].sort().map((character) => {
    const score = scores.get(character);
    if (score !== undefined) return [character, score];
    penalty += 0.0001;
    return [character, least + penalty - 0.0001];
  });
  const others = pieces.tokens
    .map((token): [string, number] => [token, scores.get(token) as number])
    .filter(([token]) => !characters.has(token) && !special.has(token))
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  chosen.push(...others.slice(0, Math.max(0, room - chosen.length)));
  chosen.sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  // Rust's JSON reader may miss the last bit of a number with more than 15 digits, and would then break ties otherwise.
  const learned = chosen.map(([token, score]): [string, number] => [token, Number(score.toPrecision(12))]);
  return { pieces: [...named.map((token): [string, number] => [token, 0]), ...learned], unknownId: named.indexOf(unknownToken) };
}
