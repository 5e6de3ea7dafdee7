/** What a training loop reads from. */

import type { HostArray } from "../graph/host-array.js";

/** The label of a place whose prediction does not count, as in PyTorch's `ignore_index`. */
export const ignoredLabel = -100;

export type TokenBatch = {
  /** [batch, seq] */
  readonly ids: HostArray<"int32">;
  /** The token that follows each id, or `ignoredLabel`. [batch, seq] */
  readonly labels: HostArray<"int32">;
  /**
   * Where rows hold several documents: which of them each place belongs to, counted from 1 in each row, and 0 where the row is filled
   * up. Attention must not reach from one to another. [batch, seq]
   */
  readonly segments?: HostArray<"int32">;
  /** With segments: the place of each token in its own, from 0. [batch, seq] */
  readonly positions?: HostArray<"int32">;
};

/** A place in the stream of training data: plain data that a checkpoint can hold. */
export type DataPosition = {
  /** Chooses the order of the data. */
  readonly seed: number;
  readonly epoch: number;
  /** Windows (rows of a batch) of this epoch that have been read. */
  readonly window: number;
};

export const startOfData = (seed: number): DataPosition => ({ seed, epoch: 0, window: 0 });

export interface DataSource {
  /** The most tokens in a row: `seq` of every batch, unless rows are filled up to several lengths. */
  readonly context: number;
  /** One more than the largest id that can occur. */
  readonly vocabSize: number;
  /** Whether all batches have segments and positions. Default: none has. */
  readonly segmented?: boolean;
  /**
   * The batch at `position`, and where the next one starts: a pure function of position and batch size. Batches are
   * [batchSize, context], or [batchSize, one of a few shorter lengths]; where an epoch has fewer windows left, the other rows have ignored labels alone.
   */
  batch(position: DataPosition, batchSize: number): { readonly batch: TokenBatch; readonly next: DataPosition };
  batchesPerEpoch(batchSize: number): number;
  /** Every validation token that has one before it, once and in order, in batches filled up in the same way. */
  validation(batchSize: number): Iterable<TokenBatch>;
  /** Tokens that `validation` asks a model to predict. */
  readonly validationTokenCount: number;
  /** Their text's length [bytes of UTF-8]: a summed loss in nats makes `loss / ln 2 / validationBytes` bits per byte. */
  readonly validationBytes: number;
}
