/** What training steps eat, wherever it comes from. */

import type { Feeds, Signature } from "../program/signature.js";

/** What a JSON file can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What a loss is a mean over. */
export interface Unit {
  /** "token", "pair", "image", ... */
  readonly name: string;
  /** Bytes of UTF-8 that one stands for in the validation data, on average: turns nats per token into bits per byte. */
  readonly bytes?: number;
}

/**
 * Batches of feeds for a step, in an order that a position tells: plain data, which a checkpoint can hold. A batch is a function of its
 * position and size alone, so that a run can be resumed; it may take its time (reading, decoding, generating).
 */
export interface BatchSource<S extends Signature = Signature, P extends Json = Json> {
  readonly signature: S;
  readonly unit: Unit;
  /** What is in it, in a few words for people: `311,000 tokens to train on, 34,000 to validate`. */
  readonly description?: string;
  /** Where the training data begins, in an order that the seed chooses. */
  start(seed: number): P;
  /** The batch at `position`, and where the next one begins. */
  batch(position: P, size: number): Promise<{ readonly feeds: Feeds<S>; readonly next: P }>;
  /** Batches in one pass over the data. */
  batchesPerEpoch(size: number): number;
  /** The validation data, once and in order; absent where none is kept. */
  validation?(size: number): AsyncIterable<Feeds<S>>;
}
