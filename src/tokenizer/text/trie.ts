/** All tokens of a vocabulary that begin at a place of a text: a trie over UTF-16 units in a hash table. */

import { grown } from "../grown.js";

const none = -1;

export class Trie {
  private nodes = 1;
  /** The value of each node, or -1. */
  private values = new Int32Array(1 << 10).fill(none);
  private mask = (1 << 12) - 1;
  /** Parent and unit of the edge in each slot, and the node that it leads to. */
  private parents = new Int32Array(1 << 12).fill(none);
  private units = new Uint16Array(1 << 12);
  private children = new Int32Array(1 << 12);

  set(key: string, value: number): void {
    let node = 0;
    for (let i = 0; i < key.length; i++) node = this.makeChild(node, key.charCodeAt(i));
    this.values[node] = value;
  }

  /** The node that `unit` leads to from `node` (0 is the root), or -1. */
  child(node: number, unit: number): number {
    const { parents, units, mask } = this;
    let slot = hash(node, unit) & mask;
    for (;;) {
      const parent = parents[slot] as number;
      if (parent === none) return none;
      if (parent === node && units[slot] === unit) return this.children[slot] as number;
      slot = (slot + 1) & mask;
    }
  }

  /** The value of the key that ends at `node`, or -1. */
  value(node: number): number {
    return this.values[node] as number;
  }

  /** One more than the largest node. A node's parent is smaller than the node. */
  get size(): number {
    return this.nodes;
  }

  /** Calls `visit` with each edge, in any order. */
  forEachEdge(visit: (parent: number, unit: number, child: number) => void): void {
    for (let slot = 0; slot < this.parents.length; slot++) {
      const parent = this.parents[slot] as number;
      if (parent !== none) visit(parent, this.units[slot] as number, this.children[slot] as number);
    }
  }

  private makeChild(node: number, unit: number): number {
    const known = this.child(node, unit);
    if (known !== none) return known;
    if (this.nodes * 2 > this.mask) this.rehash();
    const child = this.nodes++;
    if (child === this.values.length) this.values = grown(this.values, none);
    this.insert(node, unit, child);
    return child;
  }

  private insert(node: number, unit: number, child: number): void {
    let slot = hash(node, unit) & this.mask;
    while (this.parents[slot] !== none) slot = (slot + 1) & this.mask;
    this.parents[slot] = node;
    this.units[slot] = unit;
    this.children[slot] = child;
  }

  private rehash(): void {
    const { parents, units, children } = this;
    const size = parents.length * 4;
    this.mask = size - 1;
    this.parents = new Int32Array(size).fill(none);
    this.units = new Uint16Array(size);
    this.children = new Int32Array(size);
    for (let slot = 0; slot < parents.length; slot++) {
      if (parents[slot] !== none) this.insert(parents[slot] as number, units[slot] as number, children[slot] as number);
    }
  }
}

function hash(node: number, unit: number): number {
  const h = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
  return h ^ (h >>> 15);
}
