/**
 * Random numbers as a pure function of (seed, name, position): equal on every engine, after a resume and when recomputed.
 *
 * The bits come from a counter put through a 32-bit mixing function, twice, with a key made from seed and name (the idea
 * of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", with a cheaper mixer).
 */

/** 32-bit finalizer with full avalanche (constants found by C. Wellons' hash-prospector, "lowbias32"). */
function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** 32 bits of everything that a stream is told apart by; `lane` chooses one of several independent such hashes. */
function hashKey(lane: number, seed: number, name: string, numbers: readonly number[]): number {
  let hash = lane;
  const absorb = (word: number) => {
    hash = mix((hash ^ word) + 0x9e3779b9);
  };
  const absorbNumber = (number: number) => {
    absorb(number | 0);
    absorb(Math.floor(number / 2 ** 32));
  };
  absorbNumber(seed);
  for (let i = 0; i < name.length; i++) absorb(name.charCodeAt(i));
  absorb(name.length);
  for (const number of numbers) absorbNumber(number);
  return hash;
}

/** A stream of random numbers that depends on its key alone. */
export interface NamedRandom {
  /** The next 32 random bits, as an unsigned integer. */
  bits(): number;
  /** Uniform in [0, 1), in steps of 2^-32. */
  uniform(): number;
  /** Standard normal (Box & Muller 1958). */
  normal(): number;
  /** Uniform whole number in [0, bound). */
  below(bound: number): number;
}

/** @param numbers whatever else tells streams apart: step, micro-step, epoch. */
export function namedRandom(seed: number, name: string, ...numbers: readonly number[]): NamedRandom {
  // Two hashes: with one alone, of a hundred thousand streams some would be the same.
  const key = hashKey(0x811c9dc5, seed, name, numbers);
  const second = hashKey(0x5bd1e995, seed, name, numbers);
  let counter = 0;
  let spare: number | undefined;
  const bits = () => mix(mix(counter++ ^ key) + second) >>> 0;
  const uniform = () => bits() / 2 ** 32;
  return {
    bits,
    uniform,
    normal() {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    // The bias of the product is below bound / 2^53.
    below: (bound) => Math.floor(((bits() & 0x1fffff) * 2 ** 32 + bits()) * 2 ** -53 * bound),
  };
}
