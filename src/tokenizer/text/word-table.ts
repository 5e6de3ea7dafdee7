/** A set of words that are looked up where they stand in a text, without making a string of each. */

import { grown } from "../grown.js";

const none = -1;

/** Words get the numbers 0, 1, ... in the order in which they are added. An open hash table over UTF-16 units. */
export class WordTable {
  size = 0;
  /** The units of all words, one after the other; word i is `units[starts[i], starts[i + 1])`. */
  units = new Uint16Array(1 << 14);
  starts = new Int32Array(1 << 10);
  private hashes = new Int32Array(1 << 10);
  private slots = new Int32Array(1 << 12).fill(none);

  /** The number of the word `text[start, end)`, or -1. */
  find(text: string, start: number, end: number): number {
    const hash = hashOf(text, start, end);
    const mask = this.slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const word = this.slots[slot] as number;
      if (word === none || (this.hashes[word] === hash && this.equals(word, text, start, end))) return word;
    }
  }

  /** The number of the word `text[start, end)`, which is new when it equals `size` as it was before. */
  findOrAdd(text: string, start: number, end: number): number {
    const hash = hashOf(text, start, end);
    const mask = this.slots.length - 1;
    let slot = hash & mask;
    for (; ; slot = (slot + 1) & mask) {
      const word = this.slots[slot] as number;
      if (word === none) break;
      if (this.hashes[word] === hash && this.equals(word, text, start, end)) return word;
    }
    const word = this.size++;
    this.slots[slot] = word;
    if (this.size === this.starts.length) {
      this.starts = grown(this.starts);
      this.hashes = grown(this.hashes);
    }
    this.hashes[word] = hash;
    const first = this.starts[word] as number;
    const last = first + end - start;
    while (last > this.units.length) this.units = grown(this.units);
    for (let i = first; i < last; i++) this.units[i] = text.charCodeAt(start + i - first);
    this.starts[this.size] = last;
    if (this.size * 2 > this.slots.length) this.rehash();
    return word;
  }

  word(index: number): string {
    return stringOfUnits(this.units, this.starts[index] as number, this.starts[index + 1] as number);
  }

  private equals(word: number, text: string, start: number, end: number): boolean {
    const first = this.starts[word] as number;
    if ((this.starts[word + 1] as number) - first !== end - start) return false;
    for (let i = start; i < end; i++) if (this.units[first + i - start] !== text.charCodeAt(i)) return false;
    return true;
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 4).fill(none);
    const mask = this.slots.length - 1;
    for (let word = 0; word < this.size; word++) {
      let slot = (this.hashes[word] as number) & mask;
      while (this.slots[slot] !== none) slot = (slot + 1) & mask;
      this.slots[slot] = word;
    }
  }
}

export function stringOfUnits(units: Uint16Array, start: number, end: number): string {
  const piece = 1 << 13; // arguments of one call
  if (end - start <= piece) return String.fromCharCode(...units.subarray(start, end));
  let text = "";
  for (let at = start; at < end; at += piece) text += String.fromCharCode(...units.subarray(at, Math.min(end, at + piece)));
  return text;
}

/** FNV-1a over UTF-16 units, with its bits mixed at the end (Appleby's murmur3 finalizer): slots are its low bits. */
function hashOf(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
