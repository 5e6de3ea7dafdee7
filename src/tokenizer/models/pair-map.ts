/** What two neighbouring symbols become: an open hash table from pairs of ids to two numbers. */

const empty = -1;

export class PairMap {
  private readonly mask: number;
  /** [left, right, rank, id] of each slot. */
  private readonly slots: Int32Array;

  constructor(capacity: number) {
    let size = 16;
    while (size < capacity * 2) size *= 2;
    this.mask = size - 1;
    this.slots = new Int32Array(size * 4).fill(empty);
  }

  /** A pair that is set again takes the new values. */
  set(left: number, right: number, rank: number, id: number): void {
    const at = this.slot(left, right);
    this.slots[at] = left;
    this.slots[at + 1] = right;
    this.slots[at + 2] = rank;
    this.slots[at + 3] = id;
  }

  /** Where the pair is, for `rankAt` and `idAt`; -1 where it is not. */
  find(left: number, right: number): number {
    const at = this.slot(left, right);
    return this.slots[at] === empty ? -1 : at;
  }

  rankAt(place: number): number {
    return this.slots[place + 2] as number;
  }

  idAt(place: number): number {
    return this.slots[place + 3] as number;
  }

  private slot(left: number, right: number): number {
    const { slots, mask } = this;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = slot * 4;
      const found = slots[at] as number;
      if (found === empty || (found === left && slots[at + 1] === right)) return at;
    }
  }
}
