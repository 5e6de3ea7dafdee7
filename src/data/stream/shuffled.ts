/** Shuffling a stream that is too large for memory. */

import { ArgumentError } from "../../errors.js";
import { namedRandom } from "../../graph/random.js";
import { type Dataset, dataset, fields, type Placed } from "./dataset.js";

export interface ShuffleOptions {
  /** How many values are in memory at once, and how far one can move. */
  readonly bufferSize: number;
  readonly seed: number;
  /** Each epoch has an order of its own. Default 0. */
  readonly epoch?: number;
}

/**
 * The values in an order drawn from seed and epoch: blocks of `bufferSize` are read and each is shuffled (Fisher & Yates). The first
 * block of an epoch is shorter, by a length drawn anew, so that blocks do not hold the same values each time. Values from different
 * ends of a sorted dataset are mixed by shuffling its files, or by a second shuffle that is larger.
 *
 * A position is that of the block's beginning and the number of values given since: the block is read again when it is gone on with,
 * and nothing of it has to be saved.
 */
export function shuffled<T>(source: Dataset<T>, { bufferSize, seed, epoch = 0 }: ShuffleOptions): Dataset<T> {
  if (!Number.isSafeInteger(bufferSize) || bufferSize < 1)
    throw new ArgumentError(`A shuffle buffer holds a whole number of at least 1 values, but ${bufferSize} was given.`);
  const firstLength = 1 + namedRandom(seed, "data.shuffle.first", epoch).below(bufferSize);
  return dataset(async function* (from) {
    const { block: firstBlock = 0, given: before = 0, source: start } = fields(from, "shuffled", ["block", "given", "source"]);
    const cursor = source.open(start);
    let given = Number(before);
    try {
      for (let block = Number(firstBlock); ; block++) {
        const place = cursor.position();
        const values: T[] = [];
        const length = block === 0 ? firstLength : bufferSize;
        while (values.length < length) {
          const { done, value } = await cursor.next();
          if (done) break;
          values.push(value);
        }
        if (values.length === 0) return;
        const random = namedRandom(seed, "data.shuffle", epoch, block);
        for (let i = values.length - 1; i > 0; i--) {
          const j = random.below(i + 1);
          [values[i], values[j]] = [values[j] as T, values[i] as T];
        }
        const behind = { block: block + 1, given: 0, source: cursor.position() };
        const batch = values.map(
          (value, i): Placed<T> => ({ value, after: i + 1 === values.length ? behind : { block, given: i + 1, source: place } }),
        );
        yield batch.slice(given);
        given = 0;
      }
    } finally {
      await cursor.return();
    }
  });
}
