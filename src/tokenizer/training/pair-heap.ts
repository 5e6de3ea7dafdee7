/** The pairs waiting to be merged: the most frequent first; of equally frequent ones the one with the smaller ids. */

import { grown } from "../grown.js";

/** Where the heap reads a pair's ids. */
export interface PairIds {
  readonly left: Int32Array;
  readonly right: Int32Array;
}

/**
 * A binary max-heap of (pair, count when it was pushed). Entries are not updated when a count changes: whoever pops compares with the
 * present count and pushes again.
 */
export class PairHeap {
  private pairs = new Int32Array(1024);
  private counts = new Float64Array(1024);
  private size = 0;

  constructor(private readonly ids: PairIds) {}

  push(pair: number, count: number): void {
    if (this.size === this.pairs.length) {
      this.pairs = grown(this.pairs);
      this.counts = grown(this.counts);
    }
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(pair, count, parent)) break;
      this.move(parent, at);
      at = parent;
    }
    this.pairs[at] = pair;
    this.counts[at] = count;
  }

  pop(): { pair: number; count: number } | undefined {
    if (this.size === 0) return undefined;
    const top = { pair: this.pairs[0] as number, count: this.counts[0] as number };
    const pair = this.pairs[--this.size] as number;
    const count = this.counts[this.size] as number;
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      const other = child + 1;
      if (other < this.size && this.before(this.pairs[other] as number, this.counts[other] as number, child)) child = other;
      if (this.before(pair, count, child)) break;
      this.move(child, at);
      at = child;
    }
    this.pairs[at] = pair;
    this.counts[at] = count;
    return top;
  }

  private move(from: number, to: number): void {
    this.pairs[to] = this.pairs[from] as number;
    this.counts[to] = this.counts[from] as number;
  }

  /** Does (pair, count) come before the entry at `other`? */
  private before(pair: number, count: number, other: number): boolean {
    const otherCount = this.counts[other] as number;
    if (count !== otherCount) return count > otherCount;
    const { left, right } = this.ids;
    const otherPair = this.pairs[other] as number;
    if (left[pair] !== left[otherPair]) return (left[pair] as number) < (left[otherPair] as number);
    return (right[pair] as number) < (right[otherPair] as number);
  }
}
