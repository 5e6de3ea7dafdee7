/**
 * Learning WordPiece as its paper has it (Schuster & Nakajima 2012, §2; Wu et al. 2016, §4.1): of all pairs the one is joined that
 * raises the likelihood of the text most.
 */

import { grown } from "../grown.js";
import type { BytePairOptions, BytePairVocabulary, MergeStep } from "./bpe.js";
import { collision, mergedToken, mergeEverywhere, symbolText } from "./symbol-text.js";
import type { WordCounts } from "./word-counter.js";

/**
 * The text's likelihood under a unigram model of its symbols is L = Σ c(s) log(c(s)/N) = Σ f(c(s)) − f(N), with f(n) = n log n, c(s)
 * a symbol's count and N their sum. Joining (x, y), which stands c times, makes c(x) − c, c(y) − c, c(xy) + c and N − c of them.
 */
export function* likelihoodSteps(words: WordCounts, options: BytePairOptions): Generator<MergeStep, BytePairVocabulary, void> {
  const { vocabSize, specialTokens, minFrequency = 1, continuingPrefix: prefix = "" } = options;
  const text = symbolText(words, options);
  const { tokens, ids, pairs, symbols, weights } = text;
  const special = new Set(specialTokens);
  const merges: [number, number][] = [];
  const counts = new Float64Array(Math.max(vocabSize, tokens.length) + 1);
  for (let place = 0; place < symbols.length; place++) {
    const symbol = symbols[place] as number;
    counts[symbol] = (counts[symbol] as number) + (weights[place] as number);
  }
  /** The pairs that a symbol is part of. */
  const pairsOf: number[][] = tokens.map(() => []);
  const note = (pair: number) => {
    for (const symbol of new Set([pairs.left[pair] as number, pairs.right[pair] as number])) {
      pairsOf[symbol] ??= [];
      pairsOf[symbol].push(pair);
    }
  };

  const gainOf = (pair: number): number => {
    const count = pairs.count[pair] as number;
    const [x, y] = [pairs.left[pair] as number, pairs.right[pair] as number];
    const [cx, cy] = [counts[x] as number, counts[y] as number];
    const known = ids.get(mergedToken(text, x, y, prefix));
    const cxy = known === undefined ? 0 : (counts[known] as number);
    // In a run of equal symbols at most every second place starts an occurrence that is joined.
    const joined = x === y ? Math.min(count, cx / 2) : count;
    const parts = x === y ? f(cx - 2 * joined) - f(cx) : f(cx - joined) - f(cx) + f(cy - joined) - f(cy);
    return parts + f(cxy + joined) - f(cxy) - f(text.tokenCount - joined) + f(text.tokenCount);
  };

  const heap = new GainHeap();
  /** Which push of a pair is the present one. */
  let versions = new Int32Array(1024);
  const push = (pair: number) => {
    while (pair >= versions.length) versions = grown(versions);
    versions[pair] = (versions[pair] as number) + 1;
    if ((pairs.count[pair] as number) >= minFrequency) heap.push(gainOf(pair), pair, versions[pair] as number);
  };
  for (let pair = 0; pair < pairs.size; pair++) {
    note(pair);
    push(pair);
  }
  let noted = pairs.size;

  while (tokens.length < vocabSize) {
    const top = heap.pop();
    if (top === undefined) break;
    if (top.version !== versions[top.pair]) continue;
    const gain = gainOf(top.pair);
    // N has become smaller since, and with it every gain: those in the heap are upper bounds.
    if (gain < heap.best) {
      push(top.pair);
      continue;
    }
    if (gain <= 0) break;
    const left = pairs.left[top.pair] as number;
    const right = pairs.right[top.pair] as number;
    const token = mergedToken(text, left, right, prefix);
    if (special.has(token)) throw collision(token);
    const before = text.tokenCount;
    const known = ids.get(token);
    const id = known ?? tokens.push(token) - 1;
    ids.set(token, id);
    merges.push([left, right]);
    mergeEverywhere(text, top.pair, id, () => {});
    const joined = before - text.tokenCount;
    counts[left] = (counts[left] as number) - joined;
    counts[right] = (counts[right] as number) - joined;
    counts[id] = (counts[id] as number) + joined;
    for (; noted < pairs.size; noted++) note(noted);
    const changed = new Set([left, right, id].flatMap((symbol) => pairsOf[symbol] ?? []));
    for (const pair of changed) if ((pairs.count[pair] as number) > 0) push(pair);
    for (const symbol of [left, right])
      pairsOf[symbol] = (pairsOf[symbol] ?? []).filter((pair) => (pairs.count[pair] as number) > 0);
    yield {
      kind: "merge",
      left: tokens[left] as string,
      right: tokens[right] as string,
      token,
      id,
      count: joined,
      textLength: text.tokenCount,
      gain,
    };
  }
  return { tokens, merges, leftOut: text.leftOut };
}

/** n log n */
const f = (n: number): number => (n > 0 ? n * Math.log(n) : 0);

/** A binary max-heap of (gain, pair, version); equal gains in the order of pairs. */
class GainHeap {
  private gains = new Float64Array(1024);
  private pairs = new Int32Array(1024);
  private versions = new Int32Array(1024);
  private size = 0;

  /** The largest gain, or −∞. */
  get best(): number {
    return this.size === 0 ? Number.NEGATIVE_INFINITY : (this.gains[0] as number);
  }

  push(gain: number, pair: number, version: number): void {
    if (this.size === this.gains.length) {
      this.gains = grown(this.gains);
      this.pairs = grown(this.pairs);
      this.versions = grown(this.versions);
    }
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(gain, pair, parent)) break;
      this.move(parent, at);
      at = parent;
    }
    this.put(at, gain, pair, version);
  }

  pop(): { pair: number; version: number } | undefined {
    if (this.size === 0) return undefined;
    const top = { pair: this.pairs[0] as number, version: this.versions[0] as number };
    const last = --this.size;
    const [gain, pair, version] = [this.gains[last] as number, this.pairs[last] as number, this.versions[last] as number];
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      if (child + 1 < this.size && this.before(this.gains[child + 1] as number, this.pairs[child + 1] as number, child)) child++;
      if (this.before(gain, pair, child)) break;
      this.move(child, at);
      at = child;
    }
    this.put(at, gain, pair, version);
    return top;
  }

  private before(gain: number, pair: number, other: number): boolean {
    const otherGain = this.gains[other] as number;
    return gain > otherGain || (gain === otherGain && pair < (this.pairs[other] as number));
  }

  private move(from: number, to: number): void {
    this.put(to, this.gains[from] as number, this.pairs[from] as number, this.versions[from] as number);
  }

  private put(at: number, gain: number, pair: number, version: number): void {
    this.gains[at] = gain;
    this.pairs[at] = pair;
    this.versions[at] = version;
  }
}
