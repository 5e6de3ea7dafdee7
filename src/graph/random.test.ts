import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namedRandom } from "./random.js";

const draw = <T>(count: number, next: () => T): T[] => Array.from({ length: count }, next);
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const COUNT = 100_000;

describe("the numbers of a stream", () => {
  it("are uniform in [0, 1)", () => {
    const { uniform } = namedRandom(1, "uniform");
    const values = draw(COUNT, uniform);
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(mean(values)).toBeCloseTo(0.5, 2);
    expect(mean(values.map((value) => value ** 2))).toBeCloseTo(1 / 3, 2);
    // χ² over 100 bins has mean 99 and standard deviation 14.
    const bins = new Array<number>(100).fill(0);
    for (const value of values) bins[Math.floor(100 * value)] = (bins[Math.floor(100 * value)] as number) + 1;
    const chiSquare = bins.reduce((sum, count) => sum + (count - COUNT / 100) ** 2 / (COUNT / 100), 0);
    expect(Math.abs(chiSquare - 99)).toBeLessThan(5 * 14);
  });

  it("have balanced bits that do not follow each other", () => {
    const { bits } = namedRandom(2, "bits");
    const values = draw(COUNT, bits);
    for (let bit = 0; bit < 32; bit++) {
      const ones = values.map((value) => (value >>> bit) & 1);
      expect(mean(ones), `bit ${bit}`).toBeCloseTo(0.5, 1.9);
      const repeated = ones.slice(1).map((one, i) => Number(one === ones[i]));
      expect(mean(repeated), `bit ${bit} after itself`).toBeCloseTo(0.5, 1.9);
    }
  });

  it("are normal with mean 0, variance 1 and the tails of a normal distribution", () => {
    const { normal } = namedRandom(3, "normal");
    const values = draw(COUNT, normal);
    expect(mean(values)).toBeCloseTo(0, 1.5);
    expect(mean(values.map((value) => value ** 2))).toBeCloseTo(1, 1.5);
    expect(mean(values.map((value) => value ** 3))).toBeCloseTo(0, 1);
    expect(mean(values.map((value) => value ** 4))).toBeCloseTo(3, 0.5);
    expect(mean(values.map((value) => Number(Math.abs(value) > 1.96)))).toBeCloseTo(0.05, 2);
    // Both of a Box-Muller pair, and neighbours across pairs, are independent.
    for (const lag of [1, 2])
      expect(mean(values.slice(lag).map((value, i) => value * (values[i] as number)))).toBeCloseTo(0, 1.5);
  });

  it("are whole numbers below a bound, each equally often", () => {
    const { below } = namedRandom(4, "below");
    const counts = new Array<number>(7).fill(0);
    for (const value of draw(70_000, () => below(7))) counts[value] = (counts[value] as number) + 1;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.nat(), (bound, seed) => {
        const value = namedRandom(seed, "bound").below(bound);
        expect(Number.isInteger(value) && value >= 0 && value < bound).toBe(true);
      }),
    );
  });
});

describe("streams", () => {
  const first = (count: number, ...key: Parameters<typeof namedRandom>): string => draw(count, namedRandom(...key).bits).join();

  it("depend on seed, name and numbers alone", () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), fc.array(fc.nat(), { maxLength: 3 }), (seed, name, numbers) => {
        expect(first(5, seed, name, ...numbers)).toBe(first(5, seed, name, ...numbers));
      }),
    );
  });

  it("differ when any part of the key does", () => {
    const keys: Parameters<typeof namedRandom>[] = [
      [1, "a"],
      [2, "a"],
      [-1, "a"],
      [1 + 2 ** 32, "a"],
      [1, "b"],
      [1, "a", 0],
      [1, "a", 1],
      [1, "a", 2 ** 32],
      [1, "a", 0, 0],
      [1, "a", 0, 1],
      [1, "a", 1, 0],
      [1, ""],
      [1, "aa"],
    ];
    expect(new Set(keys.map((key) => first(4, ...key))).size).toBe(keys.length);
  });

  it("do not meet: no two of very many keys give the same stream", () => {
    const streams = new Set<number>();
    const count = 300_000;
    // 53 bits of each stream: that two agree by chance has a probability of 5e-6; with keys of 32 bits ten pairs would.
    for (let step = 0; step < count; step++) {
      const { bits } = namedRandom(7, `layers.${step % 24}.dropout`, step);
      streams.add((bits() & 0x1fffff) * 2 ** 32 + bits());
    }
    expect(streams.size).toBe(count);
  });

  it("of neighbouring steps, names and seeds are independent", () => {
    const streams = [
      namedRandom(1, "x", 5),
      namedRandom(1, "x", 6),
      namedRandom(2, "x", 5),
      namedRandom(1, "y", 5),
      namedRandom(1, "x", 5, 1),
    ];
    const values = streams.map(({ normal }) => draw(20_000, normal));
    for (const [i, a] of values.entries())
      for (const b of values.slice(i + 1))
        expect(Math.abs(mean(a.map((value, k) => value * (b[k] as number))))).toBeLessThan(5 / Math.sqrt(20_000));
  });

  it("stay the same from version to version: checkpoints resume with them", () => {
    const { bits, uniform, normal, below } = namedRandom(1234, "layers.0.dropout", 17, 3);
    expect([bits(), bits(), bits()]).toEqual([1537680489, 1538898062, 2060530571]);
    expect([uniform(), below(1000)]).toEqual([0.7186359751503915, 120]);
    expect(normal()).toBeCloseTo(-1.6905764832799097, 12);
    expect(normal()).toBeCloseTo(0.34725974916183455, 12);
    const others = [namedRandom(0, ""), namedRandom(2 ** 40 + 1, "seed"), namedRandom(-5, "ü")];
    expect(others.map((random) => random.bits())).toEqual([3937181693, 3416845660, 2790328801]);
  });
});
