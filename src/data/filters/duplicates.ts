/** Texts that have been there before, the same or nearly so. The first one stays. */

import { ArgumentError } from "../../errors.js";
import type { Filter } from "./filter.js";
import { hash32, hash128, mix } from "./hash.js";
import { wordsOf } from "./words.js";

/** Texts that are the same but for space around them. Memory: some eighty bytes a text. */
export const exactDuplicates = (): Filter => ({
  name: "exact-duplicates",
  version: 1,
  settings: {},
  remembers: true,
  start() {
    const seen = new Set<string>();
    return (text) => {
      const hash = hash128(text.trim());
      if (seen.has(hash)) return "the same text was there before";
      seen.add(hash);
      return undefined;
    };
  },
});

export interface NearDuplicateOptions {
  /** Texts that share this part of their runs of words (Jaccard similarity) count as the same. Default 0.7. */
  readonly threshold?: number;
  /** Words in a run. Default 5. */
  readonly shingle?: number;
  /** Hash functions; more are more exact and slower. Default 128. */
  readonly hashes?: number;
}

/**
 * Texts that nearly repeat one that was kept before: MinHash (Broder 1997, "On the resemblance and containment of documents") finds them
 * by locality-sensitive hashing (Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", section 3.4), with runs of words as in Lee
 * et al. 2022, "Deduplicating Training Data Makes Language Models Better".
 *
 * What the bands propose is compared by the whole signatures. Memory: four bytes a hash and some hundred a band for each text kept.
 */
export function nearDuplicates({ threshold = 0.7, shingle = 5, hashes = 128 }: NearDuplicateOptions = {}): Filter {
  if (!(threshold > 0 && threshold <= 1))
    throw new ArgumentError(`The threshold lies above 0, up to 1, but ${threshold} was given.`);
  for (const [name, value] of Object.entries({ shingle, hashes }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ArgumentError(`${name} is a whole number from 1, but ${value} was given.`);
  const { bands, rows } = bandsFor(threshold, hashes);
  return {
    name: "near-duplicates",
    version: 1,
    settings: { threshold, shingle, hashes },
    remembers: true,
    start() {
      const signatures: Int32Array[] = [];
      const buckets = Array.from({ length: bands }, () => new Map<number, number[]>());
      return (text) => {
        const signature = minHash(text, { shingle, hashes });
        const keys = Array.from({ length: bands }, (_, band) => bandKey(signature.subarray(band * rows, (band + 1) * rows)));
        const candidates = new Set(keys.flatMap((key, band) => buckets[band]?.get(key) ?? []));
        for (const candidate of candidates)
          if (similarity(signature, signatures[candidate] as Int32Array) >= threshold)
            return `at least ${Math.round(100 * threshold)} % the same as one before`;
        keys.forEach((key, band) => {
          const bucket = buckets[band] as Map<number, number[]>;
          const others = bucket.get(key);
          if (others) others.push(signatures.length);
          else bucket.set(key, [signatures.length]);
        });
        signatures.push(signature);
        return undefined;
      };
    },
  };
}

/** The least hash of all runs of words, for each of several hash functions. [hashes] */
export function minHash(text: string, { shingle, hashes }: { readonly shingle: number; readonly hashes: number }): Int32Array {
  const words = comparedWords(text, shingle).map((word) => hash32(word));
  const runs = new Set<number>();
  for (let i = 0; i + shingle <= Math.max(words.length, shingle); i++)
    runs.add(words.slice(i, i + shingle).reduce((hash, word) => mix(Math.imul(hash, 31) + word), shingle));
  const signature = new Int32Array(hashes).fill(0x7fffffff);
  const seeds = Array.from({ length: hashes }, (_, i) => mix(i + 1));
  for (const run of runs)
    for (let i = 0; i < hashes; i++) {
      const hash = mix(run ^ (seeds[i] as number));
      if (hash < (signature[i] as number)) signature[i] = hash;
    }
  return signature;
}

/** Copies differ in capitals and signs: words are compared without, unless hardly any are left (of source code, emoji, a short text). */
function comparedWords(text: string, fewest: number): readonly string[] {
  const plain = text.toLowerCase();
  const words = wordsOf(plain.replace(/[^\p{L}\p{M}\p{N}\s]+/gu, " "));
  return words.length < fewest ? wordsOf(plain) : words;
}

/** The part of hashes that agree: an unbiased estimate of the Jaccard similarity of the runs. */
export function similarity(a: Int32Array, b: Int32Array): number {
  let same = 0;
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++;
  return same / a.length;
}

/** 53 bits of a band of a signature. */
function bandKey(band: Int32Array): number {
  let [low, high] = [0, 1];
  for (const hash of band) {
    low = mix(low ^ hash);
    high = mix(high + hash);
  }
  return (high >>> 11) * 2 ** 32 + (low >>> 0);
}

const missWeight = 10;

/**
 * How to cut signatures into bands, such that texts above the threshold mostly agree in a whole band, 1 − (1 − sʳ)ᵇ being the chance at
 * similarity s. Missing a pair weighs ten times as much as proposing one in vain, which costs no more than a look at its signature.
 */
export function bandsFor(threshold: number, hashes: number): { readonly bands: number; readonly rows: number } {
  const proposed = (similarityOfPair: number, bands: number, rows: number) => 1 - (1 - similarityOfPair ** rows) ** bands;
  const steps = 200;
  let best = { bands: 1, rows: hashes, cost: Number.POSITIVE_INFINITY };
  for (let rows = 1; rows <= hashes; rows++) {
    const bands = Math.floor(hashes / rows);
    let cost = 0;
    for (let i = 0; i < steps; i++) {
      const s = (i + 0.5) / steps;
      const chance = proposed(s, bands, rows);
      cost += s < threshold ? chance : missWeight * (1 - chance);
    }
    if (cost < best.cost) best = { bands, rows, cost };
  }
  return { bands: best.bands, rows: best.rows };
}
