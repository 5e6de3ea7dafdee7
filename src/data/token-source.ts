/** Rows of tokens and the tokens that follow them, as a source of batches. */

import { int32 } from "../program/signature.js";
import type { BatchSource } from "./batch-source.js";
import { type DataPosition, type DataSource, startOfData } from "./data-source.js";

const idsAndLabels = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };
/** What batches of documents have besides. */
const documentPlaces = { segments: int32("batch", "seq"), positions: int32("batch", "seq") };

export type TokenSignature = typeof idsAndLabels & Partial<typeof documentPlaces>;

const describeTokens = (train: number, validation: number): string =>
  `${train.toLocaleString("en-US")} tokens to train on, ${validation.toLocaleString("en-US")} to validate`;

export interface TokenSource extends BatchSource<TokenSignature, DataPosition> {
  /** The most tokens in a row. */
  readonly context: number;
  /** One more than the largest id that can occur. */
  readonly vocabSize: number;
}

export function tokenSource(data: DataSource & { readonly trainTokenCount?: number }): TokenSource {
  const signature: TokenSignature = data.segmented ? { ...idsAndLabels, ...documentPlaces } : idsAndLabels;
  return {
    ...{ signature, context: data.context, vocabSize: data.vocabSize },
    unit: {
      name: "token",
      ...(data.validationTokenCount > 0 ? { bytes: data.validationBytes / data.validationTokenCount } : {}),
    },
    ...(data.trainTokenCount === undefined
      ? {}
      : { description: describeTokens(data.trainTokenCount, data.validationTokenCount) }),
    start: startOfData,
    async batch(position, size) {
      const { batch, next } = data.batch(position, size);
      return { feeds: batch, next };
    },
    batchesPerEpoch: (size) => data.batchesPerEpoch(size),
    ...(data.validationTokenCount > 0 && {
      async *validation(size: number) {
        yield* data.validation(size);
      },
    }),
  };
}
