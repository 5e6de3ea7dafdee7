/** Tokens of documents as rows of batches. */

import { ArgumentError, TsumikiError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { bestFitEpochs, documentSpans } from "./best-fit.js";
import type { DataPosition, DataSource, TokenBatch } from "./data-source.js";
import { checkShare, placeToCut, predicted } from "./held-out.js";
import { encodeDocuments, type TokenDocuments } from "./tokens/token-documents.js";
import { randomWindow, rowsBatch, type Span, shuffledWindows, windowsPerEpoch } from "./windows.js";

export interface PackedOptions {
  /** Tokens in a row. */
  context: number;
  /** The part of the tokens, at the end, that is kept for validation; 0 for none. Default 0.1. */
  validationShare?: number;
  /**
   * How rows are cut. "shuffled" (the default): each epoch reads windows of all tokens in a row that do not overlap, from a random
   * offset, in a random order. "random": each window starts anywhere, as in nanoGPT; an epoch is then as many windows as "shuffled"
   * reads. "bestFit": documents stay whole where they fit into a row, and rows are filled with those that fit best (Ding et al. 2024).
   */
  sampling?: "shuffled" | "random" | "bestFit";
}

export interface PackedDocuments extends DataSource {
  readonly trainTokenCount: number;
  /** Bytes of UTF-8 that a token stands for, on average. */
  readonly bytesPerToken: number;
}

export interface PackedText extends PackedDocuments {
  readonly trainTokens: Int32Array;
  /** The sequence that `validation` reads; its first token is only read from. */
  readonly validationTokens: Int32Array;
}

/**
 * Encodes `text` as one document, keeps the end of it for validation and reads the rest in rows.
 *
 * @throws TsumikiError DATA when the text is empty or too short for a row, TOKENIZER when it cannot be encoded
 */
export function packed(text: string, tokenizer: Tokenizer, options: PackedOptions): PackedText {
  if (text === "") throw new TsumikiError("DATA", "The text is empty: there is nothing to learn from.");
  const documents = encodeDocuments([text], tokenizer);
  const data = packedDocuments(documents, options);
  const cut = data.trainTokenCount;
  const all = documents.starts.at(-1) as number;
  return { ...data, trainTokens: documents.read(0, cut), validationTokens: documents.read(cut, all) };
}

/**
 * Documents one after the other in rows. Where there are several, batches say which token belongs to which, so that attention stays
 * within each and positions begin anew; a document that does not fit into its row goes on in another, as if it began there.
 *
 * The part for validation begins with a document, if one begins near enough.
 *
 * @throws TsumikiError DATA when there are too few tokens for a row, ARGUMENT for options out of their domain
 */
export function packedDocuments(documents: TokenDocuments, options: PackedOptions): PackedDocuments {
  const { context, validationShare = 0.1, sampling = "shuffled" } = options;
  checkWhole("context", context);
  checkShare(validationShare);
  const { tokenizer, starts } = documents;
  const segmented = starts.length > 2;
  const tokenCount = starts.at(-1) as number;
  const cut = placeToCut(starts, validationShare);
  checkLengths(cut, tokenCount - cut, options, tokenCount);

  const batchOf = (rows: readonly (readonly Span[])[], batchSize: number) =>
    rowsBatch(documents, rows, { batchSize, context, segmented });
  const windowFrom = (start: number, limit: number): readonly Span[] => [{ start, end: Math.min(start + context, limit - 1) }];

  /** The rows of an epoch by their place, but for "random". */
  const rowsInOrder = () => {
    if (sampling === "bestFit") {
      const { rowsPerEpoch, row } = bestFitEpochs(documentSpans(starts, 0, cut, context), context);
      if (rowsPerEpoch === 0)
        throw new TsumikiError("DATA", "No document to train on has two tokens: there is nothing to predict.");
      return { count: rowsPerEpoch, row };
    }
    const order = shuffledWindows(cut, context);
    return {
      count: windowsPerEpoch(cut, context),
      row: (seed: number, epoch: number, place: number) => windowFrom(order(seed, epoch)[place] as number, cut),
    };
  };
  const { count: windows, row: rowAt } = rowsInOrder();

  const orderedBatch = ({ seed, epoch, window }: DataPosition, batchSize: number) => {
    const end = Math.min(window + batchSize, windows);
    const rows = Array.from({ length: end - window }, (_, i) => rowAt(seed, epoch, window + i));
    return {
      batch: batchOf(rows, batchSize),
      next: end === windows ? { seed, epoch: epoch + 1, window: 0 } : { seed, epoch, window: end },
    };
  };

  const randomBatch = ({ seed, epoch, window }: DataPosition, batchSize: number) => {
    const position = (row: number) => ({
      seed,
      epoch: epoch + Math.floor((window + row) / windows),
      window: (window + row) % windows,
    });
    const rows = Array.from({ length: batchSize }, (_, i) => {
      const row = position(i);
      return windowFrom(randomWindow(cut, context, seed, row.epoch, row.window), cut);
    });
    return { batch: batchOf(rows, batchSize), next: position(batchSize) };
  };

  function* validation(batchSize: number): Iterable<TokenBatch> {
    checkWhole("batchSize", batchSize);
    for (let start = cut; start < tokenCount - 1; start += batchSize * context) {
      const rows = Math.min(batchSize, Math.ceil((tokenCount - 1 - start) / context));
      yield batchOf(
        Array.from({ length: rows }, (_, row) => windowFrom(start + row * context, tokenCount)),
        batchSize,
      );
    }
  }

  return {
    context,
    vocabSize: tokenizer.vocabSize,
    segmented,
    trainTokenCount: cut,
    bytesPerToken: documents.textBytes / tokenCount,
    batch(position, batchSize) {
      checkWhole("batchSize", batchSize);
      checkPosition(position, windows);
      return sampling === "random" ? randomBatch(position, batchSize) : orderedBatch(position, batchSize);
    },
    batchesPerEpoch(batchSize) {
      checkWhole("batchSize", batchSize);
      return Math.ceil(windows / batchSize);
    },
    validation,
    ...predicted(documents, cut, tokenCount),
  };
}

function checkWhole(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new ArgumentError(`${name} is a whole number of at least 1, but ${value} was given.`);
}

function checkLengths(
  train: number,
  heldOut: number,
  { context, validationShare = 0.1, sampling }: PackedOptions,
  all: number,
): void {
  if (sampling !== "bestFit" && train <= context) {
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
