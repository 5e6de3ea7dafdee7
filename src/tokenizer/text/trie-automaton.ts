/** All keys of a trie that end at a place of a text, with work that does not grow with their length (Aho & Corasick 1975). */

import type { Trie } from "./trie.js";

const none = -1;

export class TrieAutomaton {
  /** The node of the longest proper suffix that is in the trie, and that of the longest one that is a key. */
  private readonly suffix: Int32Array;
  private readonly keySuffix: Int32Array;

  constructor(private readonly trie: Trie) {
    const { size } = trie;
    const parents = new Int32Array(size);
    const units = new Uint16Array(size);
    trie.forEachEdge((parent, unit, child) => {
      parents[child] = parent;
      units[child] = unit;
    });
    this.suffix = new Int32Array(size);
    this.keySuffix = new Int32Array(size).fill(none);
    for (const node of byDepth(parents)) {
      const parent = parents[node] as number;
      const unit = units[node] as number;
      const suffix = parent === 0 ? 0 : this.next(this.suffix[parent] as number, unit);
      this.suffix[node] = suffix;
      this.keySuffix[node] = suffix !== 0 && trie.value(suffix) >= 0 ? suffix : (this.keySuffix[suffix] as number);
    }
  }

  /** The node of the longest suffix of what was read that is in the trie, once `unit` is read at `node`. */
  next(node: number, unit: number): number {
    for (let from = node; ; from = this.suffix[from] as number) {
      const child = this.trie.child(from, unit);
      if (child !== none) return child;
      if (from === 0) return 0;
    }
  }

  /** The longest key that ends with what `node` stands for; -1 where none does. */
  firstKey(node: number): number {
    return node !== 0 && this.trie.value(node) >= 0 ? node : (this.keySuffix[node] as number);
  }

  /** The next shorter one. */
  nextKey(node: number): number {
    return this.keySuffix[node] as number;
  }
}

/** All nodes but the root, those nearer to it first. */
function byDepth(parents: Int32Array): Int32Array {
  const depths = new Int32Array(parents.length);
  let deepest = 0;
  for (let node = 1; node < parents.length; node++) {
    const depth = (depths[parents[node] as number] as number) + 1;
    depths[node] = depth;
    deepest = Math.max(deepest, depth);
  }
  const starts = new Int32Array(deepest + 2);
  for (let node = 1; node < parents.length; node++)
    starts[(depths[node] as number) + 1] = (starts[(depths[node] as number) + 1] as number) + 1;
  for (let depth = 1; depth < starts.length; depth++) starts[depth] = (starts[depth] as number) + (starts[depth - 1] as number);
  const sorted = new Int32Array(Math.max(0, parents.length - 1));
  for (let node = 1; node < parents.length; node++) {
    const depth = depths[node] as number;
    sorted[starts[depth] as number] = node;
    starts[depth] = (starts[depth] as number) + 1;
  }
  return sorted;
}
