/** Counting the words of texts of any length, on several cores where that pays. */

import { startCounter } from "#platform/tokenizer/training/start-counter";
import { TsumikiError } from "../../errors.js";
import type { CounterHandle } from "./counter-protocol.js";
import { type CountingStages, WordCounter, type WordCounts } from "./word-counter.js";

/** One text, or several: pieces do not reach from one into the next. They may be longer in all than memory. */
export type TextSource = string | Iterable<string> | AsyncIterable<string>;

export interface CountOptions {
  readonly stages: CountingStages;
  /** Threads that count. */
  readonly threads: number;
  /** Distinct words that are kept; see `WordCounter`. */
  readonly maxWords: number;
  readonly signal?: AbortSignal | undefined;
  /** Is told how many UTF-16 units were read. */
  readonly onProgress?: ((read: number) => void) | undefined;
}

/** Text in blocks of about this length; a worker is worth its start when there is more than `aloneUnits`. [UTF-16 units] */
const blockUnits = 1 << 20;
const aloneUnits = 1 << 25;
const blocksUnderway = 2;

export async function countWords(source: TextSource, options: CountOptions): Promise<WordCounts> {
  const { stages, threads, maxWords, signal, onProgress } = options;
  const counter = new WordCounter(stages, maxWords);
  const workers: { handle: CounterHandle; underway: number }[] = [];
  const spaced = stages.added_tokens.map(({ content }) => content).filter((content) => /[ \n]/.test(content));
  let read = 0;
  let pause = 0;
  try {
    for await (const document of typeof source === "string" ? [source] : source) {
      if (typeof document !== "string")
        throw new TsumikiError("DATA", `A text to train a tokenizer on is a string, but a ${typeof document} was given.`);
      for (const block of blocksOf(document, spaced)) {
        if (signal?.aborted) throw new TsumikiError("ABORTED", "Training the tokenizer was stopped.");
        if (read > aloneUnits && workers.length < threads - 1)
          workers.push({ handle: startCounter(stages, maxWords), underway: 0 });
        const free = workers.find(({ underway }) => underway < blocksUnderway);
        if (free && block.length * 4 > blockUnits) {
          free.underway++;
          free.handle.add(block).then(
            () => free.underway--,
            () => {}, // shows again when the counter is asked for what it counted
          );
        } else counter.add(block);
        read += block.length;
        pause += block.length;
        if (pause < blockUnits) continue;
        pause = 0;
        onProgress?.(read);
        await new Promise((resolve) => setTimeout(resolve)); // messages of workers, and whatever else the thread has to do
      }
    }
    for (const { handle } of workers) counter.merge(await handle.finish());
    return counter.finish();
  } finally {
    for (const { handle } of workers) handle.stop();
  }
}

/** A text cut where it surely ends a piece: between a letter or digit and a space or line end, and not inside one of `tokens`. */
function* blocksOf(text: string, tokens: readonly string[]): Generator<string, void, undefined> {
  let start = 0;
  while (text.length - start > blockUnits) {
    let cut = safeCut(text, start + blockUnits);
    while (cut !== undefined && isInside(text, cut, tokens)) cut = safeCut(text, cut + 1);
    if (cut === undefined) break;
    yield text.slice(start, cut);
    start = cut;
  }
  if (start < text.length) yield start === 0 ? text : text.slice(start);
}

function isInside(text: string, at: number, tokens: readonly string[]): boolean {
  return tokens.some((token) => {
    const around = text.slice(Math.max(0, at - token.length + 1), at + token.length - 1);
    const before = Math.min(at, token.length - 1);
    for (let found = around.indexOf(token); found >= 0; found = around.indexOf(token, found + 1))
      if (found < before && found + token.length > before) return true;
    return false;
  });
}

/** The next place from `from` on with a letter or digit before it and a space or line feed behind it. */
function safeCut(text: string, from: number): number | undefined {
  for (let at = from; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if ((unit === 0x20 || unit === 0x0a) && isLetterOrDigit(text.charCodeAt(at - 1))) return at;
  }
  return undefined;
}

const isLetterOrDigit = (unit: number): boolean =>
  (unit >= 0x30 && unit <= 0x39) ||
  (unit >= 0x41 && unit <= 0x5a) ||
  (unit >= 0x61 && unit <= 0x7a) ||
  (unit >= 0x4e00 && unit <= 0x9fff);

/**
 * The parts of a long text that comes bit by bit, as blocks whose pieces are those of the whole. They are documents for
 * `trainTokenizer`: a file that is larger than memory can be learned from in this way.
 */
export async function* textBlocks(parts: AsyncIterable<string>): AsyncGenerator<string, void, undefined> {
  let waiting = "";
  for await (const part of parts) {
    waiting += part;
    while (waiting.length > 2 * blockUnits) {
      const cut = safeCut(waiting, blockUnits);
      if (cut === undefined) break;
      yield waiting.slice(0, cut);
      waiting = waiting.slice(cut);
    }
  }
  if (waiting !== "") yield waiting;
}
