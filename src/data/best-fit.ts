/** Packing pieces of documents into rows so that as little as possible is filled up. */

import { namedRandom } from "../graph/random.js";
import { keepLast, type Span, shuffle } from "./windows.js";

/**
 * The documents between two tokens cut into spans of at most `context` inputs: each document by itself, so that it is whole where it
 * fits. The last token of a document has nothing to predict and is no input.
 */
export function documentSpans(
  starts: Float64Array,
  from: number,
  to: number,
  context: number,
): { starts: Float64Array; lengths: Int32Array } {
  const spanStarts: number[] = [];
  const lengths: number[] = [];
  for (let i = 0; i + 1 < starts.length; i++) {
    const start = Math.max(starts[i] as number, from);
    const end = Math.min(starts[i + 1] as number, to) - 1;
    for (let at = start; at < end; at += context) {
      spanStarts.push(at);
      lengths.push(Math.min(context, end - at));
    }
  }
  return { starts: Float64Array.from(spanStarts), lengths: Int32Array.from(lengths) };
}

/** The rows of an epoch: row i holds the spans `items[rowStarts[i]]` … `items[rowStarts[i + 1] − 1]`. */
export interface PackedRows {
  readonly items: Int32Array;
  readonly rowStarts: Int32Array;
}

/**
 * Best-fit decreasing (Johnson 1973; for language models Ding et al. 2024, "Fewer Truncations Improve Language Modeling"): the longest
 * spans first, each into the row that it fills up most. `order` breaks ties among spans of one length.
 *
 * @param lengths of the spans, from 1 to `capacity`
 */
export function bestFitDecreasing(lengths: Int32Array, capacity: number, order: Int32Array): PackedRows {
  const sorted = byFallingLength(lengths, capacity, order);
  // Rows by what is still free in them, as linked lists; a row may be in one list only.
  const firstWithFree = new Int32Array(capacity + 1).fill(-1);
  const occupied = new Uint32Array((capacity >> 5) + 1);
  const nextRow = new Int32Array(lengths.length);
  const lastItem = new Int32Array(lengths.length); // of each row
  const previousItem = new Int32Array(lengths.length).fill(-1);
  const itemsOf = new Int32Array(lengths.length);
  let rows = 0;
  for (const item of sorted) {
    const length = lengths[item] as number;
    const free = smallestAtLeast(occupied, length);
    let row: number;
    if (free < 0 || free > capacity) {
      row = rows++;
      lastItem[row] = -1;
    } else {
      row = firstWithFree[free] as number;
      firstWithFree[free] = nextRow[row] as number;
      if (firstWithFree[free] === -1) occupied[free >> 5] = (occupied[free >> 5] as number) & ~(1 << (free & 31));
    }
    previousItem[item] = lastItem[row] as number;
    lastItem[row] = item;
    itemsOf[row] = (itemsOf[row] as number) + 1;
    const left = (free < 0 ? capacity : free) - length;
    if (left > 0) {
      nextRow[row] = firstWithFree[left] as number;
      firstWithFree[left] = row;
      occupied[left >> 5] = (occupied[left >> 5] as number) | (1 << (left & 31));
    }
  }
  const items = new Int32Array(lengths.length);
  const rowStarts = new Int32Array(rows + 1);
  for (let row = 0; row < rows; row++) {
    const end = (rowStarts[row] as number) + (itemsOf[row] as number);
    rowStarts[row + 1] = end;
    for (let item = lastItem[row] as number, at = end - 1; item >= 0; item = previousItem[item] as number) items[at--] = item;
  }
  return { items, rowStarts };
}

/** A stable counting sort. */
function byFallingLength(lengths: Int32Array, capacity: number, order: Int32Array): Int32Array {
  const counts = new Int32Array(capacity + 2);
  for (const length of lengths) counts[capacity - length + 1] = (counts[capacity - length + 1] as number) + 1;
  for (let i = 1; i < counts.length; i++) counts[i] = (counts[i] as number) + (counts[i - 1] as number);
  const sorted = new Int32Array(lengths.length);
  for (const item of order) {
    const bucket = capacity - (lengths[item] as number);
    const at = counts[bucket] as number;
    sorted[at] = item;
    counts[bucket] = at + 1;
  }
  return sorted;
}

/** The smallest number from `least` on that is in the bit set; −1 when there is none. */
function smallestAtLeast(bits: Uint32Array, least: number): number {
  let word = least >> 5;
  let value = (bits[word] as number) & (-1 << (least & 31));
  while (value === 0) {
    if (++word === bits.length) return -1;
    value = bits[word] as number;
  }
  return (word << 5) + (31 - Math.clz32(value & -value));
}

/** The rows of each epoch, in the order in which they are read: ties and rows are shuffled. Always as many rows. */
export function bestFitEpochs(spans: { readonly starts: Float64Array; readonly lengths: Int32Array }, context: number) {
  const { starts, lengths } = spans;
  const identity = Int32Array.from(lengths, (_, i) => i);
  const rowsPerEpoch = bestFitDecreasing(lengths, context, identity).rowStarts.length - 1;
  const epochs = keepLast((seed, epoch) => {
    const random = namedRandom(seed, "data.bestFit", epoch);
    const packed = bestFitDecreasing(lengths, context, shuffle(identity.slice(), random));
    return {
      ...packed,
      order: shuffle(
        Int32Array.from({ length: rowsPerEpoch }, (_, i) => i),
        random,
      ),
    };
  });
  return {
    rowsPerEpoch,
    /** Spans of the row at a place of an epoch. */
    row(seed: number, epoch: number, place: number): Span[] {
      const { items, rowStarts, order } = epochs(seed, epoch);
      const row = order[place] as number;
      return Array.from(items.subarray(rowStarts[row], rowStarts[row + 1]), (item) => {
        const start = starts[item] as number;
        return { start, end: start + (lengths[item] as number) };
      });
    },
  };
}
