import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { checkpoint, grad, mul, random, square, sum, type Tensor } from "../graph/index.js";
import { dropout } from "../nn/dropout.js";
import { Linear, Module } from "../nn/index.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "./compile.js";
import { drawNoise } from "./noise.js";
import { float32 } from "./signature.js";

const engines = [await onnxRuntimeNode({ threads: 2 }), referenceEngine()] as const;

/** Every kind of noise, twice, for a feed of rows that are known only when the program runs. */
const drawAll = (engine: (typeof engines)[number], seed?: number) =>
  compile(
    ({ x }) => ({
      uniform: random.uniform(x.shape),
      normal: random.normal(x.shape),
      bernoulli: random.bernoulli(x.shape, 0.3),
      named: random.normal(x.shape, "other"),
      again: random.normal(x.shape),
    }),
    { x: float32("rows", 3) },
    { engine, ...(seed === undefined ? {} : { seed }) },
  );

const zeros = (rows: number): number[][] => Array.from({ length: rows }, () => [0, 0, 0]);

type Drawn = Record<"uniform" | "normal" | "bernoulli" | "named" | "again", { readonly data: unknown }>;
const dataOf = (drawn: Drawn) => Object.fromEntries(Object.entries(drawn).map(([name, { data }]) => [name, data]));

describe("noise", () => {
  it("is the same on every engine for the same seed, name, step and micro-step, and different for another", async () => {
    const seeds = [1, 2].map((seed) => engines.map((engine) => drawAll(engine, seed)));
    await fc.assert(
      fc.asyncProperty(
        fc.record({ rows: fc.integer({ min: 1, max: 4 }), step: fc.nat(), microStep: fc.nat({ max: 99 }) }),
        async ({ rows, step, microStep }) => {
          const x = zeros(rows);
          const draw = async (at: { step: number; microStep: number }, seed = 0, engine = 0) => {
            const program = seeds[seed]?.[engine] as ReturnType<typeof drawAll>;
            return dataOf((await program({ x }, at)) as Drawn);
          };
          const drawn = await draw({ step, microStep });
          expect(await draw({ step, microStep }, 0, 1)).toEqual(drawn);
          expect(await draw({ step, microStep })).toEqual(drawn);
          for (const other of [
            await draw({ step: step + 1, microStep }),
            await draw({ step, microStep: microStep + 1 }),
            await draw({ step, microStep }, 1),
          ])
            for (const name of ["uniform", "normal", "named", "again"]) expect(other[name]).not.toEqual(drawn[name]);
          expect(drawn.named).not.toEqual(drawn.normal);
          expect(drawn.again).not.toEqual(drawn.normal);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("differs from call to call when no step is given, and begins anew with the program", async () => {
    const [first, second] = [drawAll(engines[0]), drawAll(engines[0])];
    const drawn = [];
    for (let i = 0; i < 3; i++) drawn.push(dataOf((await first({ x: zeros(2) })) as Drawn));
    expect(drawn[1]).not.toEqual(drawn[0]);
    expect(drawn[2]).not.toEqual(drawn[1]);
    for (const expected of drawn) expect(dataOf((await second({ x: zeros(2) })) as Drawn)).toEqual(expected);
    const together = drawAll(engines[0]);
    const calls = await Promise.all(drawn.map(() => together({ x: zeros(2) })));
    expect(calls.map((call) => dataOf(call as Drawn))).toEqual(drawn);
  });

  it("depends on the element alone: a larger batch begins with the smaller one's", async () => {
    const program = drawAll(engines[0]);
    const [small, large] = [await program({ x: zeros(2) }, { step: 5 }), await program({ x: zeros(7) }, { step: 5 })];
    for (const name of ["uniform", "normal", "bernoulli"] as const)
      expect([...large[name].toNumbers().subarray(0, 6)]).toEqual([...small[name].toNumbers()]);
  });

  it("is distributed as it says", () => {
    const count = 40_000;
    const draw = (distribution: Parameters<typeof drawNoise>[0]["distribution"], name = "x") =>
      Float64Array.from(drawNoise({ name, distribution }, [count], { seed: 9, step: 3, microStep: 0 }).data as Float32Array);
    const moments = (values: Float64Array) => {
      const mean = values.reduce((a, b) => a + b) / count;
      return [mean, values.reduce((total, value) => total + (value - mean) ** 2, 0) / count] as const;
    };
    const uniform = draw({ kind: "uniform" });
    expect(uniform.every((value) => value >= 0 && value < 1)).toBe(true);
    const near = (actual: number, expected: number, deviation: number) =>
      expect(Math.abs(actual - expected)).toBeLessThan((4.5 * deviation) / Math.sqrt(count));
    near(moments(uniform)[0], 1 / 2, Math.sqrt(1 / 12));
    near(moments(uniform)[1], 1 / 12, Math.sqrt(1 / 180));
    const normal = draw({ kind: "normal" });
    near(moments(normal)[0], 0, 1);
    near(moments(normal)[1], 1, Math.SQRT2);
    near(normal.filter((value) => Math.abs(value) < 1).length / count, 0.6827, Math.sqrt(0.6827 * 0.3173));
    for (const probability of [0.1, 0.5, 0.97])
      near(
        moments(draw({ kind: "bernoulli", probability }, `p${probability}`))[0],
        probability,
        Math.sqrt(probability * (1 - probability)),
      );
    expect(draw({ kind: "bernoulli", probability: 0 }).every((value) => value === 0)).toBe(true);
    expect(draw({ kind: "bernoulli", probability: 1 }).every((value) => value === 1)).toBe(true);
    // Neighbours, and streams of similar names, have nothing in common.
    const correlation = (a: Float64Array, b: Float64Array) =>
      a.reduce((total, value, i) => total + value * (b[i] ?? 0), 0) / count;
    near(correlation(normal, normal.subarray(1)), 0, 1);
    near(correlation(normal, draw({ kind: "normal" }, "y")), 0, 1);
  });
});

class Net extends Module {
  readonly layers = Array.from({ length: 3 }, () => new Linear(6, 6));

  constructor(readonly wrap: (fn: () => Tensor) => Tensor) {
    super();
  }

  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer) => this.wrap(() => dropout(layer.forward(h).tanh(), 0.4)), x);
  }
}

describe("dropout that is recomputed", () => {
  const x = Array.from({ length: 5 }, (_, i) => Array.from({ length: 6 }, (_, k) => Math.cos(i + 2 * k)));

  it.each(engines.map((engine) => [engine.name, engine] as const))(
    "has the mask of the forward pass on %s",
    async (_, engine) => {
      const gradients = async (wrap: (fn: () => Tensor) => Tensor, seed: number) => {
        const net = new Net(wrap).initialize(4);
        const parameters = [...net.parameters().values()];
        await using program = compile(
          ({ x }) => {
            const loss = sum(square(net.forward(x)));
            return { loss, ...Object.fromEntries(grad(loss, parameters).map((g, i) => [`g${i}`, g])) };
          },
          { x: float32("batch", 6) },
          { engine, training: true, seed },
        );
        const results = await program({ x });
        return Object.values(results).flatMap((array) => [...array.toNumbers()]);
      };
      const plain = await gradients((fn) => fn(), 1);
      const recomputed = await gradients(checkpoint, 1);
      for (const [i, value] of plain.entries()) expect(recomputed[i]).toBeCloseTo(value, 5);
      expect(await gradients((fn) => fn(), 2)).not.toEqual(plain);
    },
  );
});

describe("training with the same seed", () => {
  const losses = async (seed: number): Promise<Uint8Array[]> => {
    const net = new Net((fn) => fn()).initialize(seed);
    const optimizer = new AdamW(net);
    await using step = compile(
      ({ x }) => {
        const loss = sum(square(net.forward(mul(x, 0.7)).sub(x)));
        return { loss, ...optimizer.update(loss, { learningRate: 0.01, clipNorm: 1 }) };
      },
      { x: float32("batch", 6) },
      { engine: engines[0], seed },
    );
    const x = Array.from({ length: 64 }, (_, i) => Array.from({ length: 6 }, (_, k) => Math.sin(i * k)));
    const bits: Uint8Array[] = [];
    for (let i = 0; i < 12; i++) {
      const { loss, gradientNorm } = await step({ x });
      for (const { data } of [loss, gradientNorm]) bits.push(new Uint8Array((data as Float32Array).buffer.slice(0)));
    }
    return bits;
  };

  it("has the same losses, bit for bit", async () => {
    const first = await losses(1);
    expect(await losses(1)).toEqual(first);
    expect(await losses(2)).not.toEqual(first);
  });
});
