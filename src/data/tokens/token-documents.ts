/** Documents as tokens, one after the other: what packing cuts into rows. */

import { ArgumentError } from "../../errors.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";

/** Tokens of documents, in memory or in a file; reading does not wait. */
export interface TokenDocuments {
  readonly tokenizer: Tokenizer;
  /** Where each document starts, and at the end the number of all tokens. [documents + 1] */
  readonly starts: Float64Array;
  /** The token that ends each document, which stands for no text; `undefined` where documents just end. */
  readonly separator: number | undefined;
  /** Length of the documents' text [bytes of UTF-8]. */
  readonly textBytes: number;
  /** A copy of the tokens from `start` up to `end`. */
  read(start: number, end: number): Int32Array;
  /** 1 for the tokens that a model should learn to say, 0 for others; `undefined` where it is all of them. [end − start] */
  readLossMask(start: number, end: number): Uint8Array | undefined;
}

export interface TokenDocument {
  readonly ids: Int32Array;
  /** 1 for the tokens that a model should learn to say. Default: all. [tokens] */
  readonly lossMask?: Uint8Array;
}

export interface EncodingOptions {
  /** A token that is put behind each document, so that a model learns where one ends, such as `<|endoftext|>`. */
  readonly separator?: string;
}

/** The texts as documents in memory. @throws TsumikiError ARGUMENT where the separator is no token of the tokenizer */
export function encodeDocuments(texts: Iterable<string>, tokenizer: Tokenizer, options: EncodingOptions = {}): TokenDocuments {
  const separator = separatorId(tokenizer, options);
  const utf8 = new TextEncoder();
  let textBytes = 0;
  const documents: TokenDocument[] = [];
  for (const text of texts) {
    textBytes += utf8.encode(text).length;
    const ids = tokenizer.encode(text);
    documents.push({ ids: separator === undefined ? ids : withEnd(ids, separator) });
  }
  return tokenDocuments(documents, tokenizer, { textBytes, separator });
}

/** Documents that are tokens already, in memory. */
export function tokenDocuments(
  documents: readonly TokenDocument[],
  tokenizer: Tokenizer,
  { textBytes, separator }: { readonly textBytes?: number; readonly separator?: number | undefined } = {},
): TokenDocuments {
  const starts = startsOf(documents.map(({ ids }) => ids.length));
  const tokens = new Int32Array(starts.at(-1) as number);
  const masked = documents.some(({ lossMask }) => lossMask !== undefined);
  const mask = masked ? new Uint8Array(tokens.length) : undefined;
  documents.forEach(({ ids, lossMask }, i) => {
    if (lossMask && lossMask.length !== ids.length)
      throw new ArgumentError(`Document ${i} has ${ids.length} tokens, but a loss mask of ${lossMask.length}.`);
    tokens.set(ids, starts[i]);
    mask?.set(lossMask ?? new Uint8Array(ids.length).fill(1), starts[i]);
  });
  return {
    tokenizer,
    starts,
    separator,
    textBytes: textBytes ?? tokenizer.byteLength(tokens.filter((id) => id !== separator)),
    read: (start, end) => tokens.slice(start, end),
    readLossMask: (start, end) => mask?.slice(start, end),
  };
}

/** Where documents of these lengths start when they stand one after the other, and where the last ends. */
export function startsOf(lengths: ArrayLike<number>): Float64Array {
  const starts = new Float64Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) starts[i + 1] = (starts[i] as number) + (lengths[i] as number);
  return starts;
}

/** The document that token `place` belongs to. */
export function documentAt(starts: Float64Array, place: number): number {
  let [low, high] = [0, starts.length - 1]; // starts[low] ≤ place < starts[high]
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= place) low = middle;
    else high = middle;
  }
  return low;
}

export function separatorId(tokenizer: Tokenizer, { separator }: EncodingOptions): number | undefined {
  if (separator === undefined) return undefined;
  const id = tokenizer.tokenToId(separator);
  if (id === undefined)
    throw new ArgumentError(
      `The separator ${JSON.stringify(separator)} is no token of the tokenizer${tokenizer.specialTokens.length > 0 ? `; its special tokens are ${tokenizer.specialTokens.join(", ")}` : ""}.`,
    );
  return id;
}

function withEnd(ids: Int32Array, separator: number): Int32Array {
  const ended = new Int32Array(ids.length + 1);
  ended.set(ids);
  ended[ids.length] = separator;
  return ended;
}
