import { describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { compile } from "../program/compile.js";
import { float32 } from "../program/signature.js";
import { grad } from "./gradient.js";
import { constant, input } from "./leaves.js";
import { broadcastTo, mul, reshape, softmax, sum } from "./ops/index.js";
import { categorical, gumbelSoftmax } from "./sampling.js";
import { roundStraightThrough, straightThrough } from "./straight-through.js";
import type { Tensor } from "./tensor.js";
import { numbersOf } from "./testing/values.js";

const engine = referenceEngine();
const draws = 20_000;
const probabilities = [0.5, 0.3, 0.15, 0.05];
const logits = (dtype?: "float16") =>
  broadcastTo(
    constant(
      probabilities.map((p) => Math.log(p) + 3),
      dtype,
    ),
    [draws, 4],
  );

describe("categorical", () => {
  it("draws classes as often as their probability says, and the same ones for the same step", async () => {
    await using program = compile(
      () => ({ drawn: categorical(logits()), half: categorical(logits("float16"), "half") }),
      {},
      { engine, seed: 4 },
    );
    const run = await program({}, { step: 7 });
    for (const { data } of [run.drawn, run.half])
      for (const [i, p] of probabilities.entries()) {
        const share = Array.from(data, Number).filter((drawn) => drawn === i).length / draws;
        // Five standard deviations.
        expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws));
      }
    expect((await program({}, { step: 7 })).drawn.data).toEqual(run.drawn.data);
    expect((await program({}, { step: 8 })).drawn.data).not.toEqual(run.drawn.data);
  });

  it("never draws what is impossible", async () => {
    const impossible = constant([Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY]);
    await using program = compile(() => ({ drawn: categorical(broadcastTo(impossible, [500, 3])) }), {}, { engine });
    expect(new Set((await program({})).drawn.toNumbers())).toEqual(new Set([1]));
  });
});

describe("gumbelSoftmax", () => {
  it("lies on the simplex, chooses where it is hard, and has the gradient of the soft choice", async () => {
    await using program = compile(
      ({ x }) => {
        const options = { temperature: 0.7, name: "same" };
        const soft = gumbelSoftmax(x, options);
        const weights = constant([1, -2, 3]);
        const dSoft = grad(sum(mul(soft, weights)), [x])[0] as Tensor;
        return { soft, dSoft };
      },
      { x: float32(5, 3) },
      { engine },
    );
    await using hard = compile(
      ({ x }) => {
        const chosen = gumbelSoftmax(x, { temperature: 0.7, name: "same", hard: true });
        return { chosen, dHard: grad(sum(mul(chosen, constant([1, -2, 3]))), [x])[0] as Tensor };
      },
      { x: float32(5, 3) },
      { engine },
    );
    const x = Array.from({ length: 5 }, (_, i) => [0, i / 3, -1]);
    const { soft, dSoft } = await program({ x }, { step: 1 });
    const { chosen, dHard } = await hard({ x }, { step: 1 });
    for (let row = 0; row < 5; row++) {
      const shares = [...soft.toNumbers().slice(3 * row, 3 * row + 3)];
      expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
      const largest = shares.indexOf(Math.max(...shares));
      expect([...chosen.toNumbers().slice(3 * row, 3 * row + 3)]).toEqual([0, 1, 2].map((i) => Number(i === largest)));
    }
    expect([...dHard.data]).toEqual([...dSoft.data]);
  });

  it("refuses a temperature of 0", () => {
    expect(() => gumbelSoftmax(constant([1, 2]), { temperature: 0 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("straight-through estimators", () => {
  it("give one value and the gradient of another", () => {
    const x = input("x", "float64", [3]);
    const rounded = roundStraightThrough(mul(x, 2));
    const soft = softmax(x);
    const forced = straightThrough(constant([1, 0, 0], "float64"), soft);
    const weights = constant([1, 2, 3], "float64");
    const [value, dRounded, one, dForced, dSoft] = numbersOf(
      [
        rounded,
        grad(sum(mul(rounded, rounded)), [x])[0] as Tensor,
        forced,
        grad(sum(mul(forced, weights)), [x])[0] as Tensor,
        grad(sum(mul(soft, weights)), [x])[0] as Tensor,
      ],
      { x: [0.4, -1.3, 2] },
    );
    expect(value).toEqual([1, -3, 4]);
    expect(dRounded).toEqual([4, -12, 16]);
    expect(one).toEqual([1, 0, 0]);
    expect(dForced).toEqual(dSoft);
    expect(() => straightThrough(constant([1, 0]), reshape(constant([1, 0]), [2, 1]))).toThrow(
      expect.objectContaining({ code: "SHAPE" }),
    );
  });
});
