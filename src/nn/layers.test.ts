import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { elementCount } from "../graph/host-array.js";
import { ones, range, sum, type Tensor, type Variable } from "../graph/index.js";
import { compile, float32, int32 } from "../program/index.js";
import { dropout } from "./dropout.js";
import { SwiGLU } from "./feed-forward.js";
import { Embedding, Linear } from "./linear.js";
import { LayerNorm, RMSNorm } from "./norm.js";
import type { RopeScaling } from "./rope-scaling.js";
import { Rotary } from "./rotary.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const set = (variable: Variable, values: readonly number[]) =>
  variable.write({ dtype: "float32", shape: variable.shape, data: Float32Array.from(values) });

/** What a function of one tensor gives for rows of numbers. */
async function apply(fn: (x: Tensor) => Tensor, x: readonly (readonly number[])[]): Promise<number[]> {
  await using program = compile(({ x }) => ({ y: fn(x) }), { x: float32("rows", x[0]?.length ?? 0) }, { engine });
  return [...(await program({ x })).y.toNumbers()];
}

function expectClose(actual: readonly number[], expected: readonly number[], digits = 5): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, digits);
}

describe("layers", () => {
  it("Linear is x·Wᵀ + b", async () => {
    const linear = new Linear(2, 3);
    set(linear.weight, [1, 2, 3, 4, 5, 6]);
    set(linear.bias as Variable, [10, 20, 30]);
    expectClose(
      await apply(
        (x) => linear.forward(x),
        [
          [1, 1],
          [2, 0],
        ],
      ),
      [13, 27, 41, 12, 26, 40],
    );
    const plain = new Linear(2, 1, { bias: false });
    expect(plain.bias).toBeUndefined();
    expect([...plain.parameters().keys()]).toEqual(["weight"]);
  });

  it("Embedding looks rows up", async () => {
    const embedding = new Embedding(3, 2);
    set(embedding.weight, [1, 2, 3, 4, 5, 6]);
    await using program = compile(({ ids }) => ({ y: embedding.forward(ids) }), { ids: int32("batch", "seq") }, { engine });
    const { y } = await program({ ids: [[2, 0, 2]] });
    expect(y.shape).toEqual([1, 3, 2]);
    expectClose([...y.toNumbers()], [5, 6, 1, 2, 5, 6]);
  });

  it("LayerNorm has mean 0 and variance 1 before weight and bias; RMSNorm mean square 1", async () => {
    const [layer, rms] = [new LayerNorm(4, { epsilon: 0.5 }), new RMSNorm(4, { epsilon: 0.5 })];
    set(layer.weight, [1, 2, 3, 4]);
    set(layer.bias as Variable, [0.5, 0, 0, 1]);
    set(rms.weight, [1, 2, 3, 4]);
    const x = [1, 5, -2, 8];
    const mean = 3;
    const variance = (4 + 4 + 25 + 25) / 4;
    expectClose(
      await apply((t) => layer.forward(t), [x]),
      x.map((v, i) => ((v - mean) / Math.sqrt(variance + 0.5)) * (i + 1) + (i === 0 ? 0.5 : i === 3 ? 1 : 0)),
    );
    expectClose(
      await apply((t) => rms.forward(t), [x]),
      x.map((v, i) => (v / Math.sqrt((1 + 25 + 4 + 64) / 4 + 0.5)) * (i + 1)),
    );
    expect(new LayerNorm(4, { bias: false }).bias).toBeUndefined();
  });

  it("SwiGLU is down(silu(gate(x))·up(x))", async () => {
    const block = new SwiGLU(1, 2);
    set(block.gateProj.weight, [1, -2]);
    set(block.upProj.weight, [3, 4]);
    set(block.downProj.weight, [5, 6]);
    const silu = (v: number) => v / (1 + Math.exp(-v));
    const expected = (x: number) => 5 * silu(x) * 3 * x + 6 * silu(-2 * x) * 4 * x;
    expectClose(await apply((x) => block.forward(x), [[0.5], [-1.5]]), [expected(0.5), expected(-1.5)], 4);
    expect([...block.parameters().keys()]).toEqual(["gateProj.weight", "upProj.weight", "downProj.weight"]);
  });

  it("SwiGLU may begin with other values on the way back", () => {
    const block = new SwiGLU(4, 8, { outputInitializer: (shape) => new Float32Array(elementCount(shape)) }).initialize(1);
    expect((block.downProj.weight.hostValue().data as Float32Array).every((v) => v === 0)).toBe(true);
    expect((block.upProj.weight.hostValue().data as Float32Array).some((v) => v !== 0)).toBe(true);
  });
});

describe("rotary positions", () => {
  /** Rotates one vector as if it stood at each position. */
  const rotated = (headDim: number, theta?: number) =>
    compile(
      ({ x, start }) => {
        const positions = range(x.size(2), "int64", start.size(0));
        return { y: new Rotary(positions, { headDim, ...(theta === undefined ? {} : { theta }) }).apply(x) };
      },
      { x: float32(1, "heads", "seq", headDim), start: float32("start") },
      { engine },
    );

  it("turn pair (i, i + headDim/2) by position · theta^(−2i/headDim)", async () => {
    const program = rotated(4, 100);
    const x = [0.3, -1, 2, 0.5];
    const { y } = await program({ x: [[[x, x, x]]], start: Array(7).fill(0) });
    const expected = [7, 8, 9].flatMap((position) => {
      const out = [0, 0, 0, 0];
      for (const i of [0, 1]) {
        const angle = position * 100 ** (-i / 2);
        const [first, second] = [x[i] as number, x[i + 2] as number];
        out[i] = first * Math.cos(angle) - second * Math.sin(angle);
        out[i + 2] = second * Math.cos(angle) + first * Math.sin(angle);
      }
      return out;
    });
    expectClose([...y.toNumbers()], expected, 4);
  });

  it("have other wavelengths by LongRoPE in texts beyond the original context", async () => {
    const [shortFactor, longFactor] = [
      [1, 2],
      [4, 5],
    ];
    const scaling: RopeScaling = { ropeType: "longrope", factor: 4, originalMaxPositionEmbeddings: 8, shortFactor, longFactor };
    await using program = compile(
      ({ x }) => ({ y: new Rotary(range(x.size(2), "int64"), { headDim: 4, theta: 100, scaling }).apply(x) }),
      { x: float32(1, 1, "seq", 4) },
      { engine },
    );
    const sharper = Math.sqrt(1 + Math.log(4) / Math.log(8));
    for (const [length, factors] of [
      [8, shortFactor],
      [9, longFactor],
    ] as const) {
      const { y } = await program({ x: [[Array(length).fill([1, 1, 0, 0])]] });
      const expected = Array.from({ length }, (_, position) => {
        const angles = [0, 1].map((i) => (position * 100 ** (-i / 2)) / (factors[i] as number));
        return [...angles.map(Math.cos), ...angles.map(Math.sin)].map((value) => sharper * value);
      });
      expectClose([...y.toNumbers()], expected.flat(), 4);
    }
    expect(() => compile(({ p }) => ({ y: new Rotary(p, { headDim: 8, scaling }).apply(p) }), { p: float32(4) })).toThrow(
      /shortFactor has 2 values, but 4 pairs/,
    );
  });

  it("make products depend on distances alone, and keep lengths", async () => {
    const program = rotated(6);
    const vector = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 6, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(vector, vector, fc.nat({ max: 40 }), fc.nat({ max: 40 }), async (q, k, shift, other) => {
        const at = async (start: number) => {
          const { y } = await program({
            x: [
              [
                [q, q, q],
                [k, k, k],
              ],
            ],
            start: Array(start).fill(0),
          });
          const values = y.toNumbers();
          const row = (head: number, t: number) => values.subarray((head * 3 + t) * 6, (head * 3 + t + 1) * 6);
          return {
            product: row(0, 2).reduce((total, v, i) => total + v * (row(1, 0)[i] as number), 0),
            length: Math.hypot(...row(0, 1)),
          };
        };
        const [a, b] = [await at(shift), await at(other)];
        expect(a.product).toBeCloseTo(b.product, 4);
        expect(a.length).toBeCloseTo(Math.hypot(...q), 4);
      }),
      { numRuns: 15 },
    );
  });
});

describe("dropout", () => {
  const program = (probability: number, training: boolean) =>
    compile(
      ({ x }) => ({ y: dropout(x, probability), total: sum(dropout(x, probability)) }),
      { x: float32("n") },
      { engine, training },
    );
  const x = new Array<number>(20_000).fill(1);

  it.each([0.1, 0.5, 0.9])("sets a share of %f to 0 and scales the others up, so that the mean stays", async (probability) => {
    const { y } = await program(probability, true)({ x });
    const values = y.toNumbers();
    const kept = values.filter((value) => value !== 0);
    for (const value of kept) expect(value).toBeCloseTo(1 / (1 - probability), 5);
    const deviation = Math.sqrt((probability * (1 - probability)) / x.length);
    expect(Math.abs(kept.length / x.length - (1 - probability))).toBeLessThan(4.5 * deviation);
  });

  it("draws each mask by its own name, and a new one in every step", async () => {
    const masks = compile(
      ({ x }) => ({ a: dropout(x, 0.5), b: dropout(x, 0.5), c: dropout(x, 0.5, "residual") }),
      { x: float32("n") },
      { engine, training: true },
    );
    const short = x.slice(0, 200);
    const [first, second, again] = [await masks({ x: short }), await masks({ x: short }), await masks({ x: short }, { step: 0 })];
    const distinct = new Set([first, second].flatMap((results) => Object.values(results).map(({ data }) => String(data))));
    expect(distinct.size).toBe(6);
    expect(Object.values(again).map(({ data }) => data)).toEqual(Object.values(first).map(({ data }) => data));
  });

  it("is nothing in evaluation, and with probability 0", async () => {
    expect(program(0.5, false).toString()).not.toMatch(/noise|bernoulli/);
    expect(program(0, true).toString()).not.toMatch(/noise|bernoulli/);
    expect((await program(0.5, false)({ x: [1, 2] })).total.item()).toBe(3);
  });

  it.each([-0.1, 1, 1.5, Number.NaN])("refuses a probability of %f", (probability) => {
    expect(() => dropout(ones([1]), probability)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
