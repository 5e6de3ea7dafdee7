/** A text as one sequence of tokens, cut into windows. */

import { ArgumentError, TsumikiError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/index.js";
import type { DataPosition, DataSource, TokenBatch } from "./data-source.js";
import { randomWindow, shuffledWindows, windowBatch, windowsPerEpoch } from "./windows.js";

export interface PackedOptions {
  /** Tokens in a window. */
  context: number;
  /** The part of the tokens, at the end of the text, that is kept for validation; 0 for none. Default 0.1. */
  validationShare?: number;
  /**
   * "shuffled" (the default): each epoch reads windows that do not overlap, from a random offset, in a random order.
   * "random": each window starts anywhere, as in nanoGPT; an epoch is then as many windows as "shuffled" reads.
   */
  sampling?: "shuffled" | "random";
}

export interface PackedText extends DataSource {
  readonly trainTokens: Int32Array;
  /** The sequence that `validation` reads; its first token is only read from. */
  readonly validationTokens: Int32Array;
  /** Bytes of UTF-8 that a token stands for, on average. */
  readonly bytesPerToken: number;
}

/**
 * Encodes `text` as one sequence, keeps the end of it for validation and reads the rest in windows.
 *
 * @throws TsumikiError DATA when the text is empty or too short for a window, TOKENIZER when it cannot be encoded
 */
export function packed(text: string, tokenizer: Tokenizer, options: PackedOptions): PackedText {
  const { context, validationShare = 0.1, sampling = "shuffled" } = options;
  checkWhole("context", context);
  if (!(validationShare >= 0 && validationShare < 1))
    throw new ArgumentError(
      `validationShare is a part of the text, from 0 up to but not including 1, but ${validationShare} was given.`,
    );
  if (text === "") throw new TsumikiError("DATA", "The text is empty: there is nothing to learn from.");

  const tokens = tokenizer.encode(text);
  const cut = Math.floor(tokens.length * (1 - validationShare));
  const trainTokens = tokens.subarray(0, cut);
  const validationTokens = tokens.subarray(cut);
  checkLengths(trainTokens.length, validationTokens.length, options, tokens.length);

  const windows = windowsPerEpoch(trainTokens.length, context);
  const order = shuffledWindows(trainTokens.length, context);

  const shuffledBatch = ({ seed, epoch, window }: DataPosition, batchSize: number) => {
    const end = Math.min(window + batchSize, windows);
    const batch = windowBatch(trainTokens, [...order(seed, epoch).subarray(window, end)], batchSize, context);
    return { batch, next: end === windows ? { seed, epoch: epoch + 1, window: 0 } : { seed, epoch, window: end } };
  };

  const randomBatch = ({ seed, epoch, window }: DataPosition, batchSize: number) => {
    const position = (row: number) => ({
      seed,
      epoch: epoch + Math.floor((window + row) / windows),
      window: (window + row) % windows,
    });
    const rows = Array.from({ length: batchSize }, (_, row) => position(row));
    const starts = rows.map((row) => randomWindow(trainTokens.length, context, seed, row.epoch, row.window));
    return { batch: windowBatch(trainTokens, starts, batchSize, context), next: position(batchSize) };
  };

  return {
    context,
    vocabSize: tokenizer.vocabSize,
    trainTokens,
    validationTokens,
    bytesPerToken: tokenizer.byteLength(tokens) / tokens.length,
    batch(position, batchSize) {
      checkWhole("batchSize", batchSize);
      checkPosition(position, windows);
      return sampling === "random" ? randomBatch(position, batchSize) : shuffledBatch(position, batchSize);
    },
    batchesPerEpoch(batchSize) {
      checkWhole("batchSize", batchSize);
      return Math.ceil(windows / batchSize);
    },
    validation(batchSize) {
      checkWhole("batchSize", batchSize);
      return batchesInOrder(validationTokens, batchSize, context);
    },
    validationTokenCount: Math.max(0, validationTokens.length - 1),
    validationBytes: tokenizer.byteLength(validationTokens.subarray(1)),
  };
}

function* batchesInOrder(tokens: Int32Array, batchSize: number, context: number): Iterable<TokenBatch> {
  for (let start = 0; start < tokens.length - 1; start += batchSize * context) {
    const rows = Math.min(batchSize, Math.ceil((tokens.length - 1 - start) / context));
    const starts = Array.from({ length: rows }, (_, row) => start + row * context);
    yield windowBatch(tokens, starts, batchSize, context);
  }
}

function checkWhole(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new ArgumentError(`${name} is a whole number of at least 1, but ${value} was given.`);
}

function checkLengths(train: number, heldOut: number, { context, validationShare = 0.1 }: PackedOptions, all: number): void {
  if (train <= context) {
    throw new TsumikiError(
      "DATA",
      `The context is ${context} tokens, but only ${train} of the text's ${all} tokens are left to train on (${context + 1} are needed: a ` +
        "window and the token after it). Give a longer text or a smaller context.",
    );
  }
  if (validationShare > 0 && heldOut < 2) {
    throw new TsumikiError(
      "DATA",
      `A validationShare of ${validationShare} leaves ${heldOut} of the text's ${all} tokens to validate on, and at least 2 are needed. ` +
        "Give a longer text, a larger share, or 0 for no validation.",
    );
  }
}

function checkPosition({ seed, epoch, window }: DataPosition, windows: number): void {
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 0;
  if (Number.isSafeInteger(seed) && whole(epoch) && whole(window) && window < windows) return;
  throw new TsumikiError(
    "DATA",
    `There is no window ${window} in epoch ${epoch} (seed ${seed}): this data has ${windows} windows an epoch, counted from 0. A position ` +
      "from a checkpoint fits the text, tokenizer and context that it was saved with.",
  );
}
