/** Rows of tokens as batches. */

import { hostArray } from "../graph/host-array.js";
import { namedRandom } from "../graph/random.js";
import { ignoredLabel, type TokenBatch } from "./data-source.js";
import { documentAt, type TokenDocuments } from "./tokens/token-documents.js";

/** Tokens `start` … `end − 1` as inputs, whose labels are the tokens one further: token `end` is read too. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Row i holds the spans `rows[i]` one after the other. A token's label is the one that follows it in its document, if the loss counts
 * that; the last of a document has none. Where a row ends early, and in rows beyond those given, ids are 0 and labels ignored.
 *
 * With `segmented`, each document of a row (and each span) is a segment of its own, counted from 1, whose positions start at 0; what is
 * filled up is segment 0.
 */
export function rowsBatch(
  documents: TokenDocuments,
  rows: readonly (readonly Span[])[],
  { batchSize, context, segmented }: { readonly batchSize: number; readonly context: number; readonly segmented: boolean },
): TokenBatch {
  const ids = new Int32Array(batchSize * context);
  const labels = new Int32Array(batchSize * context).fill(ignoredLabel);
  const segments = segmented ? new Int32Array(batchSize * context) : undefined;
  const positions = segmented ? new Int32Array(batchSize * context) : undefined;
  const { starts } = documents;
  rows.forEach((spans, row) => {
    let place = row * context;
    let segment = 0;
    for (const { start, end } of spans) {
      const tokens = documents.read(start, end + 1);
      const counts = documents.readLossMask(start, end + 1);
      let document = documentAt(starts, start);
      let documentEnd = starts[document + 1] as number;
      let position = 0;
      segment++;
      for (let i = 0; i < end - start; i++) {
        if (start + i === documentEnd) {
          while (start + i === documentEnd) documentEnd = starts[++document + 1] as number; // a document may have no tokens
          position = 0;
          segment++;
        }
        ids[place] = tokens[i] as number;
        if (start + i + 1 < documentEnd && counts?.[i + 1] !== 0) labels[place] = tokens[i + 1] as number;
        if (segments && positions) {
          segments[place] = segment;
          positions[place] = position++;
        }
        place++;
      }
    }
  });
  const array = (values: Int32Array) => hostArray("int32", [batchSize, context], values);
  return {
    ids: array(ids),
    labels: array(labels),
    ...(segments && positions ? { segments: array(segments), positions: array(positions) } : {}),
  };
}

/** Where the windows of one epoch start, in the order in which they are read. */
export type EpochOrder = (seed: number, epoch: number) => Float64Array;

/** Windows that an epoch reads: one fewer than fit, so that they may begin anywhere; but one at least. */
export const windowsPerEpoch = (tokenCount: number, context: number): number => Math.max(1, Math.floor(tokenCount / context) - 1);

/**
 * Epochs of windows that do not overlap, from an offset that each epoch draws anew (so that a token does not always stand at the same
 * place of its window), shuffled (Fisher & Yates). The last order is kept, for the batches that follow.
 */
export function shuffledWindows(tokenCount: number, context: number): EpochOrder {
  const windows = windowsPerEpoch(tokenCount, context);
  const slack = tokenCount - 1 - windows * context;
  return keepLast((seed, epoch) => {
    const random = namedRandom(seed, "data.shuffled", epoch);
    const offset = random.below(slack + 1);
    return shuffle(
      Float64Array.from({ length: windows }, (_, i) => offset + i * context),
      random,
    );
  });
}

/** The start of the window at a position when each is drawn for itself, anywhere. */
export function randomWindow(tokenCount: number, context: number, seed: number, epoch: number, window: number): number {
  return namedRandom(seed, "data.random", epoch, window).below(tokenCount - context);
}

/** In place (Fisher & Yates). */
export function shuffle<T extends Float64Array | Int32Array>(values: T, random: { below(bound: number): number }): T {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [values[i], values[j]] = [values[j] as number, values[i] as number];
  }
  return values;
}

/** Remembers what the last seed and epoch gave. */
export function keepLast<T>(make: (seed: number, epoch: number) => T): (seed: number, epoch: number) => T {
  let last: { readonly seed: number; readonly epoch: number; readonly value: T } | undefined;
  return (seed, epoch) => {
    if (last?.seed !== seed || last.epoch !== epoch) last = { seed, epoch, value: make(seed, epoch) };
    return last.value;
  };
}
