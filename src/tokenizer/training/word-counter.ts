/** How often each piece of a text occurs: all that the trainers need to know of it. */

import { grown } from "../grown.js";
import { createSectionFinder } from "../pipeline/added-tokens.js";
import { chunkCutter } from "../pipeline/chunks.js";
import { createNormalizer } from "../pipeline/normalizers.js";
import { createPreTokenizer, preTokenize } from "../pipeline/pre-tokenizers.js";
import { wellFormed } from "../text/well-formed.js";
import { stringOfUnits, WordTable } from "../text/word-table.js";
import type { TokenizerJson } from "../tokenizer-json.js";

/** The distinct words (pieces) of a text. */
export interface WordCounts {
  readonly size: number;
  /** The UTF-16 units of all words; word i is `units[starts[i], starts[i + 1])`. */
  readonly units: Uint16Array;
  readonly starts: Int32Array;
  /** How often each occurs. [size] */
  readonly counts: Float64Array;
  /** Rare words that were forgotten to stay within `maxWords`, and how often they occurred at least. */
  readonly forgotten: { readonly words: number; readonly occurrences: number };
}

export const wordAt = ({ units, starts }: WordCounts, index: number): string =>
  stringOfUnits(units, starts[index] as number, starts[index + 1] as number);

/** Words as they are given, for texts that are cut already. */
export function wordCountsOf(words: Iterable<readonly [word: string, count: number]>): WordCounts {
  const table = new CountTable();
  for (const [word, count] of words) table.add(word, 0, word.length, count);
  return table.counted({ words: 0, occurrences: 0 });
}

/** The stages that come before the model. */
export type CountingStages = Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "added_tokens">;

/** Longer pieces are cut: what a merge could learn across so far a border is nothing. [UTF-16 units] */
const longestWord = 1 << 16;

/** Counts text that is given block by block. */
export class WordCounter {
  private readonly table = new CountTable();
  private forgotten = { words: 0, occurrences: 0 };
  private readonly findTokens;
  private readonly normalize;
  private readonly stages;
  private readonly cutChunks;

  /**
   * @param maxWords how many distinct words are kept in memory; when there are more, the rarest are forgotten and counted as such
   * (lossy counting: Manku & Motwani 2002)
   */
  constructor(
    stages: CountingStages,
    private readonly maxWords: number,
  ) {
    this.findTokens = createSectionFinder(stages.added_tokens, ({ content }) => content);
    this.normalize = stages.normalizer ? createNormalizer(stages.normalizer) : undefined;
    this.stages = createPreTokenizer(stages.pre_tokenizer).stages;
    this.cutChunks = chunkCutter(stages, this.normalize);
  }

  /** Counts a block of text; special tokens in it are not learned from. */
  add(block: string): void {
    const text = wellFormed(block);
    for (const { start, end, id } of this.findTokens(text)) {
      if (id !== undefined) continue;
      const section = start === 0 && end === text.length ? text : text.slice(start, end);
      // Where words of the plain text are independent of each other they are counted now and normalized later, once each.
      if (this.cutChunks) this.cutChunks(section, (from, to) => this.count(this.table, section, from, to, 1));
      else this.countPieces(this.table, section, 1);
    }
  }

  /** Adds what another counter with the same stages has counted. */
  merge(other: WordCounts): void {
    for (let i = 0; i < other.size; i++) {
      const word = wordAt(other, i);
      this.count(this.table, word, 0, word.length, other.counts[i] as number);
    }
    this.forgotten.words += other.forgotten.words;
    this.forgotten.occurrences += other.forgotten.occurrences;
  }

  /** What was counted so far, for `merge`. */
  raw(): WordCounts {
    return this.table.counted(this.forgotten);
  }

  finish(): WordCounts {
    if (!this.cutChunks) return this.raw();
    const pieces = new CountTable();
    const chunks = this.raw();
    for (let i = 0; i < chunks.size; i++) this.countPieces(pieces, wordAt(chunks, i), chunks.counts[i] as number);
    return pieces.counted(this.forgotten);
  }

  private countPieces(table: CountTable, section: string, times: number): void {
    const source = { text: section, alignment: undefined };
    preTokenize(this.stages, this.normalize?.(source) ?? source, true, ({ text }, start, end) =>
      this.count(table, text, start, end, times),
    );
  }

  private count(table: CountTable, text: string, start: number, end: number, times: number): void {
    let at = start;
    while (end - at > longestWord) {
      const cut = at + longestWord - ((text.codePointAt(at + longestWord - 1) as number) > 0xffff ? 1 : 0);
      table.add(text, at, cut, times);
      at = cut;
    }
    table.add(text, at, end, times);
    if (table === this.table && table.size > this.maxWords) this.forgetRare();
  }

  /** Forgets the rarest words until at most half of what may be kept is left. */
  private forgetRare(): void {
    const { table } = this;
    const sorted = table.countsInOrder();
    const rare = sorted[sorted.length - (this.maxWords >> 1)] as number;
    const kept = new CountTable();
    const { size, ...all } = table.counted(this.forgotten);
    for (let i = 0; i < size; i++) {
      const count = all.counts[i] as number;
      if (count > rare) {
        const word = stringOfUnits(all.units, all.starts[i] as number, all.starts[i + 1] as number);
        kept.add(word, 0, word.length, count);
        continue;
      }
      this.forgotten.words++;
      this.forgotten.occurrences += count;
    }
    table.become(kept);
  }
}

class CountTable {
  private words = new WordTable();
  private counts = new Float64Array(1 << 10);

  get size(): number {
    return this.words.size;
  }

  add(text: string, start: number, end: number, times: number): void {
    const word = this.words.findOrAdd(text, start, end);
    if (word === this.counts.length) this.counts = grown(this.counts);
    this.counts[word] = (this.counts[word] as number) + times;
  }

  /** Takes the place of what is here: others hold this table while they add to it. */
  become({ words, counts }: CountTable): void {
    this.words = words;
    this.counts = counts;
  }

  countsInOrder(): Float64Array {
    return this.counts.slice(0, this.size).sort();
  }

  counted(forgotten: WordCounts["forgotten"]): WordCounts {
    const { size, units, starts } = this.words;
    return { size, units, starts, counts: this.counts, forgotten: { ...forgotten } };
  }
}
