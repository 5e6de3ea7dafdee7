/** All pairs of neighbouring symbols: how often each occurs, and where. */

import { grown } from "../grown.js";

const none = -1;

/**
 * Each place of a text starts at most one pair, so the places of a pair form a doubly linked list through arrays over places:
 * adding and removing an occurrence is O(1), and counts and lists are exact at any time.
 */
export class PairTable {
  size = 0;
  left = new Int32Array(1024);
  right = new Int32Array(1024);
  /** Occurrences, each weighted with how often its word occurs. */
  count = new Float64Array(1024);
  private first = new Int32Array(1024);
  private slots = new Int32Array(4096).fill(none);
  private readonly pairAt: Int32Array;
  private readonly nextPlace: Int32Array;
  private readonly previousPlace: Int32Array;

  /** @param weights how often the word that a place belongs to occurs [places] */
  constructor(private readonly weights: Float64Array) {
    this.pairAt = new Int32Array(weights.length).fill(none);
    this.nextPlace = new Int32Array(weights.length);
    this.previousPlace = new Int32Array(weights.length);
  }

  /** The number of the pair (left, right), which is new when it was never asked for. */
  find(left: number, right: number): number {
    const mask = this.slots.length - 1;
    for (let slot = hash(left, right) & mask; ; slot = (slot + 1) & mask) {
      const pair = this.slots[slot] as number;
      if (pair === none) return this.insert(left, right, slot);
      if (this.left[pair] === left && this.right[pair] === right) return pair;
    }
  }

  /** Does `pair` start at `place`? */
  has(pair: number, place: number): boolean {
    return this.pairAt[place] === pair;
  }

  add(pair: number, place: number): void {
    const next = this.first[pair] as number;
    this.pairAt[place] = pair;
    this.nextPlace[place] = next;
    this.previousPlace[place] = none;
    if (next !== none) this.previousPlace[next] = place;
    this.first[pair] = place;
    this.count[pair] = (this.count[pair] as number) + (this.weights[place] as number);
  }

  /** Forgets the pair that starts at `place`, if there is one. */
  remove(place: number): void {
    const pair = this.pairAt[place] as number;
    if (pair === none) return;
    const next = this.nextPlace[place] as number;
    const previous = this.previousPlace[place] as number;
    if (previous === none) this.first[pair] = next;
    else this.nextPlace[previous] = next;
    if (next !== none) this.previousPlace[next] = previous;
    this.pairAt[place] = none;
    this.count[pair] = (this.count[pair] as number) - (this.weights[place] as number);
  }

  /** The places where `pair` starts, ascending. */
  places(pair: number): Int32Array {
    let length = 0;
    for (let place = this.first[pair] as number; place !== none; place = this.nextPlace[place] as number) length++;
    const places = new Int32Array(length);
    for (let place = this.first[pair] as number; place !== none; place = this.nextPlace[place] as number)
      places[--length] = place;
    // Mostly in order already, since occurrences are put in front of the list from left to right.
    for (let i = 1; i < places.length; i++) if ((places[i] as number) < (places[i - 1] as number)) return places.sort();
    return places;
  }

  private insert(left: number, right: number, slot: number): number {
    const pair = this.size++;
    if (pair === this.left.length) {
      this.left = grown(this.left);
      this.right = grown(this.right);
      this.count = grown(this.count);
      this.first = grown(this.first);
    }
    this.left[pair] = left;
    this.right[pair] = right;
    this.first[pair] = none;
    this.slots[slot] = pair;
    if (this.size * 2 > this.slots.length) this.rehash();
    return pair;
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 2).fill(none);
    const mask = this.slots.length - 1;
    for (let pair = 0; pair < this.size; pair++) {
      let slot = hash(this.left[pair] as number, this.right[pair] as number) & mask;
      while (this.slots[slot] !== none) slot = (slot + 1) & mask;
      this.slots[slot] = pair;
    }
  }
}

function hash(left: number, right: number): number {
  const h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return h ^ (h >>> 15);
}
