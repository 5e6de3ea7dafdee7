/** Documents one to a row, filled up to one of a few lengths. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { namedRandom } from "../graph/random.js";
import { documentSpans } from "./best-fit.js";
import type { DataPosition, TokenBatch } from "./data-source.js";
import { checkShare, placeToCut, predicted } from "./held-out.js";
import type { PackedDocuments } from "./packed.js";
import type { TokenDocuments } from "./tokens/token-documents.js";
import { keepLast, rowsBatch, type Span, shuffle } from "./windows.js";

export interface BucketedOptions {
  /** The lengths that rows are filled up to, ascending; documents that are longer than the last go on in another row. */
  buckets: readonly number[];
  /** The part of the tokens, at the end, that is kept for validation; 0 for none. Default 0.1. */
  validationShare?: number;
}

/** The batches of an epoch: batch i has the spans `order[starts[i]]` … `order[starts[i + 1] − 1]`, all of one bucket. */
interface EpochBatches {
  readonly order: Int32Array;
  readonly batches: readonly { readonly from: number; readonly to: number; readonly length: number }[];
}

/**
 * Each row is one document, or a part of one, and all rows of a batch are filled up to the same length, the shortest bucket that holds
 * them: programs are compiled for each length once, and little is computed for nothing. Nothing is left out.
 *
 * Batches are [batchSize, bucket]. A position's `window` counts batches here.
 */
export function bucketedDocuments(
  documents: TokenDocuments,
  { buckets, validationShare = 0.1 }: BucketedOptions,
): PackedDocuments {
  const ascending = buckets.every((length, i) => Number.isSafeInteger(length) && length > (buckets[i - 1] ?? 0));
  if (buckets.length === 0 || !ascending)
    throw new ArgumentError(`Buckets are ascending whole numbers from 1, but [${buckets.join(", ")}] was given.`);
  checkShare(validationShare);
  const { starts, tokenizer } = documents;
  const context = buckets.at(-1) as number;
  const tokenCount = starts.at(-1) as number;
  const cut = placeToCut(starts, validationShare);
  const spans = documentSpans(starts, 0, cut, context);
  const heldOut = documentSpans(starts, cut, tokenCount, context);
  if (spans.lengths.length === 0)
    throw new TsumikiError("DATA", "No document to train on has two tokens: there is nothing to predict.");

  const bucketOf = (length: number) => buckets.findIndex((bucket) => length <= bucket);
  const orderOf = (lengths: Int32Array, batchSize: number, random?: { below(bound: number): number }): EpochBatches => {
    const all = Int32Array.from(lengths, (_, i) => i);
    if (random) shuffle(all, random);
    const groups = buckets.map((_, bucket) => all.filter((span) => bucketOf(lengths[span] as number) === bucket));
    const order = Int32Array.from(groups.flatMap((group) => [...group]));
    let from = 0;
    const batches = groups.flatMap((group, bucket) => {
      const end = from + group.length;
      const own = [];
      for (; from < end; from += batchSize)
        own.push({ from, to: Math.min(end, from + batchSize), length: buckets[bucket] as number });
      from = end;
      return own;
    });
    if (!random) return { order, batches };
    const shuffled = shuffle(
      Int32Array.from(batches, (_, i) => i),
      random,
    );
    return { order, batches: Array.from(shuffled, (i) => batches[i] as EpochBatches["batches"][number]) };
  };
  const batchAt = ({ order, batches }: EpochBatches, index: number, of: typeof spans, batchSize: number): TokenBatch => {
    const { from, to, length } = batches[index] as EpochBatches["batches"][number];
    const rows = Array.from(order.subarray(from, to), (span): readonly Span[] => {
      const start = of.starts[span] as number;
      return [{ start, end: start + (of.lengths[span] as number) }];
    });
    return rowsBatch(documents, rows, { batchSize, context: length, segmented: false });
  };
  const epochsBySize = new Map<number, (seed: number, epoch: number) => EpochBatches>();
  const epochOf = (batchSize: number) => {
    const known = epochsBySize.get(batchSize);
    if (known) return known;
    const epochs = keepLast((seed, epoch) => orderOf(spans.lengths, batchSize, namedRandom(seed, "data.bucketed", epoch)));
    epochsBySize.set(batchSize, epochs);
    return epochs;
  };
  const batchesPerEpoch = (batchSize: number) => {
    if (!Number.isSafeInteger(batchSize) || batchSize < 1)
      throw new ArgumentError(`batchSize is a whole number of at least 1, but ${batchSize} was given.`);
    const rows = new Array<number>(buckets.length).fill(0);
    for (const length of spans.lengths) rows[bucketOf(length)] = (rows[bucketOf(length)] as number) + 1;
    return rows.reduce((sum, count) => sum + Math.ceil(count / batchSize), 0);
  };

  return {
    context,
    vocabSize: tokenizer.vocabSize,
    trainTokenCount: cut,
    bytesPerToken: documents.textBytes / tokenCount,
    batch({ seed, epoch, window }: DataPosition, batchSize) {
      const count = batchesPerEpoch(batchSize);
      if (!(Number.isSafeInteger(window) && window >= 0 && window < count && Number.isSafeInteger(epoch) && epoch >= 0))
        throw new TsumikiError(
          "DATA",
          `There is no batch ${window} in epoch ${epoch}: this data has ${count} of ${batchSize} rows an epoch.`,
        );
      const last = window + 1 === count;
      return {
        batch: batchAt(epochOf(batchSize)(seed, epoch), window, spans, batchSize),
        next: last ? { seed, epoch: epoch + 1, window: 0 } : { seed, epoch, window: window + 1 },
      };
    },
    batchesPerEpoch,
    *validation(batchSize) {
      batchesPerEpoch(batchSize); // checks it
      const inOrder = orderOf(heldOut.lengths, batchSize);
      for (let i = 0; i < inOrder.batches.length; i++) yield batchAt(inOrder, i, heldOut, batchSize);
    },
    ...predicted(documents, cut, tokenCount),
  };
}
