import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type NamedRandom, namedRandom } from "../graph/random.js";
import { createSampler, type SamplingOptions } from "./sampler.js";

/** A random number of one's own, counting how often it was asked for. */
function fixed(uniform: number): { random: NamedRandom; asked: () => number } {
  let asked = 0;
  const never = () => {
    throw new Error("A sampler asks for uniform numbers only.");
  };
  const ask = () => {
    asked++;
    return uniform;
  };
  return { random: { bits: never, normal: never, below: never, uniform: ask }, asked: () => asked };
}

/** How often each token is chosen while the random number goes through [0, 1) in small steps: its probability. */
function shares(logits: readonly number[], options: SamplingOptions, count = 2000): number[] {
  const sample = createSampler(options);
  const chosen = logits.map(() => 0);
  for (let i = 0; i < count; i++) {
    const token = sample(logits, fixed((i + 0.5) / count).random);
    chosen[token] = (chosen[token] as number) + 1;
  }
  return chosen.map((times) => times / count);
}

function softmax(logits: readonly number[], temperature = 1): number[] {
  const weights = logits.map((logit) => Math.exp(logit / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

function expectShares(actual: readonly number[], expected: readonly number[]): void {
  for (const [i, share] of expected.entries()) expect(Math.abs((actual[i] as number) - share)).toBeLessThan(0.003);
}

const normalized = (weights: readonly number[]): number[] => {
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
};

const logits = [1, -0.5, 2, 0.3, -3];

describe("sampling", () => {
  it.each([0.3, 1, 2.5])("at temperature %f draws from softmax(logits / temperature)", (temperature) => {
    expectShares(shares(logits, { temperature }), softmax(logits, temperature));
    expectShares(
      shares(
        logits.map((logit) => logit + 500),
        { temperature },
      ),
      softmax(logits, temperature),
    );
  });

  it("at temperature 0 or with topK 1 takes the likeliest, the first of several, and asks for no random number", () => {
    for (const options of [{ temperature: 0 }, { topK: 1 }, { temperature: 0, topP: 0.1 }]) {
      const { random, asked } = fixed(0.99);
      expect(createSampler(options)(logits, random)).toBe(2);
      expect(createSampler(options)([5, 7, 7], random)).toBe(1);
      expect(asked()).toBe(0);
    }
  });

  it("with topK draws from the k likeliest", () => {
    const p = softmax(logits);
    expectShares(shares(logits, { topK: 2 }), normalized([p[0], 0, p[2], 0, 0] as number[]));
    expectShares(shares(logits, { topK: 99 }), p);
  });

  it("with topP draws from the fewest that reach the probability, at least one", () => {
    const p = softmax([Math.log(0.5), Math.log(0.3), Math.log(0.15), Math.log(0.05)]);
    const of = (topP: number) => shares(p.map(Math.log), { topP });
    expectShares(of(0.2), [1, 0, 0, 0]);
    expectShares(of(0.49), [1, 0, 0, 0]);
    expectShares(of(0.51), normalized([0.5, 0.3, 0, 0]));
    expectShares(of(0.79), normalized([0.5, 0.3, 0, 0]));
    expectShares(of(0.94), normalized([0.5, 0.3, 0.15, 0]));
    expectShares(of(1), [0.5, 0.3, 0.15, 0.05]);
  });

  it("applies the temperature first, then topK, then topP to what topK has left", () => {
    const p = softmax(logits, 0.5);
    expectShares(shares(logits, { temperature: 0.5, topK: 3 }), normalized([p[0], 0, p[2], p[3], 0] as number[]));
    const rest = normalized([p[2], p[0], p[3]] as number[]);
    const reach = (rest[0] as number) + 0.5 * (rest[1] as number);
    expectShares(shares(logits, { temperature: 0.5, topK: 3, topP: reach }), normalized([p[0], 0, p[2], 0, 0] as number[]));
  });

  it("always gives a token of the candidates, with one random number", () => {
    const finite = fc.double({ min: -50, max: 50, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(finite, fc.constant(Number.NEGATIVE_INFINITY)), { minLength: 1, maxLength: 20 }),
        finite,
        fc.record({
          temperature: fc.double({ min: 0.01, max: 10, noNaN: true }),
          topK: fc.integer({ min: 1, max: 25 }),
          topP: fc.double({ min: 1e-6, max: 1, noNaN: true }),
        }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (given, one, options, uniform) => {
          const all = [...given, one];
          const { random, asked } = fixed(uniform);
          const token = createSampler(options)(all, random);
          expect(asked()).toBeLessThanOrEqual(1);
          expect(all[token]).toBeGreaterThan(Number.NEGATIVE_INFINITY);
          expect(all.filter((logit) => logit > (all[token] as number)).length).toBeLessThan(options.topK);
        },
      ),
    );
  });

  it("depends on the seed alone", () => {
    const draw = (seed: number) => {
      const [sample, random] = [createSampler({ temperature: 1.5 }), namedRandom(seed, "sampling")];
      return Array.from({ length: 30 }, () => sample(logits, random));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it.each([
    ["a negative temperature", { temperature: -1 }],
    ["a temperature that is no number", { temperature: Number.NaN }],
    ["no candidates", { topK: 0 }],
    ["half a candidate", { topK: 1.5 }],
    ["no probability", { topP: 0 }],
    ["a probability above 1", { topP: 1.1 }],
  ])("refuses %s", (_, options) => {
    expect(() => createSampler(options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("does not choose where the logits are not finite", () => {
    for (const broken of [
      [Number.NaN, Number.NaN],
      [1, Number.POSITIVE_INFINITY],
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ])
      expect(() => createSampler()(broken, fixed(0.5).random)).toThrow(expect.objectContaining({ code: "NOT_FINITE" }));
    expect(() => createSampler({ temperature: 0 })([Number.NaN, Number.NaN], fixed(0.5).random)).toThrow(
      expect.objectContaining({ code: "NOT_FINITE" }),
    );
  });
});
