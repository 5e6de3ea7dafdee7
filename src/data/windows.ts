/** Windows of a token sequence as batches. */

import { hostArray } from "../graph/host-array.js";
import { namedRandom } from "../graph/random.js";
import { ignoredLabel, type TokenBatch } from "./data-source.js";

/**
 * Row i holds `context` tokens from `starts[i]` on, labelled with the tokens that follow them. Where the sequence ends, and in rows
 * beyond `starts`, ids are 0 and labels ignored.
 */
export function windowBatch(tokens: Int32Array, starts: readonly number[], batchSize: number, context: number): TokenBatch {
  const ids = new Int32Array(batchSize * context);
  const labels = new Int32Array(batchSize * context).fill(ignoredLabel);
  starts.forEach((start, row) => {
    const end = Math.min(start + context, tokens.length - 1);
    ids.set(tokens.subarray(start, end), row * context);
    labels.set(tokens.subarray(start + 1, end + 1), row * context);
  });
  const shape = [batchSize, context];
  return { ids: hostArray("int32", shape, ids), labels: hostArray("int32", shape, labels) };
}

/** Where the windows of one epoch start, in the order in which they are read. */
export type EpochOrder = (seed: number, epoch: number) => Int32Array;

/** Windows that an epoch reads: one fewer than fit, so that they may begin anywhere; but one at least. */
export const windowsPerEpoch = (tokenCount: number, context: number): number => Math.max(1, Math.floor(tokenCount / context) - 1);

/**
 * Epochs of windows that do not overlap, from an offset that each epoch draws anew (so that a token does not always stand at the same
 * place of its window), shuffled (Fisher & Yates). The last order is kept, for the batches that follow.
 */
export function shuffledWindows(tokenCount: number, context: number): EpochOrder {
  const windows = windowsPerEpoch(tokenCount, context);
  const slack = tokenCount - 1 - windows * context;
  let last: { seed: number; epoch: number; starts: Int32Array } | undefined;
  return (seed, epoch) => {
    if (last?.seed === seed && last.epoch === epoch) return last.starts;
    const random = namedRandom(seed, "data.shuffled", epoch);
    const offset = random.below(slack + 1);
    const starts = Int32Array.from({ length: windows }, (_, i) => offset + i * context);
    for (let i = windows - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [starts[i], starts[j]] = [starts[j] as number, starts[i] as number];
    }
    last = { seed, epoch, starts };
    return starts;
  };
}

/** The start of the window at a position when each is drawn for itself, anywhere. */
export function randomWindow(tokenCount: number, context: number, seed: number, epoch: number, window: number): number {
  return namedRandom(seed, "data.random", epoch, window).below(tokenCount - context);
}
