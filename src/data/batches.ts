import { ArgumentError } from "../errors.js";
import { type DataPosition, type DataSource, startOfData, type TokenBatch } from "./data-source.js";

export interface BatchesOptions {
  readonly batchSize: number;
  /** How many batches. Default: without end, one epoch after the other. */
  readonly count?: number;
  /** Chooses the order of the data. Default 0. */
  readonly seed?: number;
  /** Where to begin instead, e.g. where an earlier loop ended. */
  readonly from?: DataPosition;
}

/** Training batches in order, for a loop of one's own. */
export function* batches(
  data: Pick<DataSource, "batch">,
  { batchSize, count = Number.POSITIVE_INFINITY, seed = 0, from = startOfData(seed) }: BatchesOptions,
): Generator<TokenBatch, void, undefined> {
  if (!(count >= 0)) throw new ArgumentError(`A count of batches is at least 0, but ${count} was given.`);
  let position = from;
  for (let i = 0; i < count; i++) {
    const { batch, next } = data.batch(position, batchSize);
    position = next;
    yield batch;
  }
}
