import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import {
  constant,
  type HostArray,
  hostArray,
  matmul,
  mean,
  mul,
  Parameter,
  square,
  sum,
  type Tensor,
  toNumbers,
  Variable,
} from "../graph/index.js";
import { Module } from "../nn/module.js";
import { compile } from "../program/compile.js";
import { float32 } from "../program/signature.js";
import { AdamW } from "./adamw.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const folder = new URL("../../reference/golden/", import.meta.url);
const { tensors } = decodeSafetensors(readFileSync(new URL("adamw.safetensors", folder)));
const { config } = JSON.parse(readFileSync(new URL("adamw.json", folder), "utf8")) as {
  config: { steps: number; betas: [number, number]; epsilon: number; clipNorm: number };
};

const golden = (name: string): HostArray<"float32"> => {
  const found = tensors.get(name);
  if (!found) throw new Error(`adamw.safetensors has no ${name}`);
  return found as HostArray<"float32">;
};

/** Largest difference between an array and row `step` of a golden one, relative where values are above 1. */
function difference(actual: HostArray, name: string, step: number): number {
  const expected = golden(name);
  expect(actual.shape).toEqual(expected.shape.slice(1));
  const values = toNumbers(actual);
  return values.reduce((most, value, i) => {
    const target = expected.data[step * values.length + i] as number;
    return Math.max(most, Math.abs(value - target) / Math.max(1, Math.abs(target)));
  }, 0);
}

const parameterNames = ["weight1", "bias1", "weight2", "bias2"] as const;

class Network extends Module {
  readonly weight1 = new Parameter([5, 6]);
  readonly bias1 = new Parameter([6]);
  readonly weight2 = new Parameter([6, 3]);
  readonly bias2 = new Parameter([3]);

  forward(x: Tensor): Tensor {
    return matmul(matmul(x, this.weight1).add(this.bias1).tanh(), this.weight2).add(this.bias2);
  }
}

describe("AdamW", () => {
  it.each([
    ["each parameter by itself", false],
    ["all of a group as a vector", true],
  ])("follows PyTorch's over 20 steps, with groups, clipping and a schedule: %s", async (_, flat) => {
    const network = new Network();
    for (const name of parameterNames) network[name].write(golden(`parameter.${name}`));
    const optimizer = new AdamW(network, {
      betas: config.betas,
      epsilon: config.epsilon,
      weightDecay: 0.1,
      groups: [{ match: /^bias/, learningRateScale: 2, weightDecay: 0 }],
      flat,
    });
    await using step = compile(
      ({ x, y, learningRate }) => {
        const loss = mean(square(network.forward(x).sub(y)));
        return { loss, ...optimizer.update(loss, { learningRate, clipNorm: config.clipNorm }) };
      },
      { x: float32(8, 5), y: float32(8, 3), learningRate: float32() },
      { engine },
    );
    const clipped = [];
    for (let i = 0; i < config.steps; i++) {
      const learningRate = golden("steps.learningRate").data[i] as number;
      const { loss, gradientNorm, inside } = await step(
        { x: golden("x"), y: golden("y"), learningRate },
        { fetch: ["gradient.*"] },
      );
      clipped.push(gradientNorm.item() > config.clipNorm);
      const found = new Map<string, HostArray>([
        ["loss", loss],
        ["gradientNorm", gradientNorm],
      ]);
      for (const name of parameterNames) {
        found.set(`gradient.${name}`, inside[`gradient.${name}`] as HostArray);
        found.set(`parameter.${name}`, await network[name].read());
        for (const moment of flat ? [] : ["firstMoment", "secondMoment"])
          found.set(`${moment}.${name}`, await (optimizer.variables().get(`${moment}.${name}`) as Variable).read());
      }
      for (const [name, array] of found) expect([i, name, difference(array, `steps.${name}`, i) < 1e-5]).toEqual([i, name, true]);
    }
    expect(new Set(clipped).size).toBe(2); // some steps were clipped and some not
    expect((await (optimizer.variables().get("stepCount") as Variable).read()).data[0]).toBe(20);
  });

  /** One parameter whose gradient is the feed. */
  class Single extends Module {
    readonly weight: Parameter;
    constructor(values: readonly number[]) {
      super();
      this.weight = new Parameter([values.length, 1], { initializer: () => Float32Array.from(values) });
    }
  }

  it("is what the papers say, for all its settings", async () => {
    const beta = fc.constantFrom(0, 0.5, 0.9, 0.95, 0.99, 0.999);
    const settings = fc.record({
      betas: fc.tuple(beta, beta),
      epsilon: fc.constantFrom(1e-8, 1e-4, 0.1),
      weightDecay: fc.constantFrom(0, 0.01, 0.5),
      rate: fc.constantFrom(1e-3, 0.02),
    });
    const gradient = fc.array(fc.double({ min: -3, max: 3, noNaN: true }).map(Math.fround), { minLength: 2, maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(
        settings,
        fc.array(gradient, { minLength: 1, maxLength: 6 }),
        async ({ betas: [b1, b2], epsilon, weightDecay, rate }, gradients) => {
          const start = [0.8, -1.5];
          const model = new Single(start);
          const optimizer = new AdamW(model, { betas: [b1, b2], epsilon, weightDecay });
          await using step = compile(
            ({ g }) => optimizer.update(sum(mul(model.weight, g)), { learningRate: rate }),
            { g: float32(2, 1) },
            { engine },
          );
          const expected = start.map((value) => ({ value, m: 0, v: 0, way: 0 }));
          for (const [t, g] of gradients.entries()) {
            await step({ g: hostArray("float32", [2, 1], Float32Array.from(g)) });
            for (const [i, e] of expected.entries()) {
              e.m = b1 * e.m + (1 - b1) * (g[i] as number);
              e.v = b2 * e.v + (1 - b2) * (g[i] as number) ** 2;
              const mHat = e.m / (1 - b1 ** (t + 1));
              const vHat = e.v / (1 - b2 ** (t + 1));
              const change = -rate * weightDecay * e.value - (rate * mHat) / (Math.sqrt(vHat) + epsilon);
              e.value += change;
              e.way += Math.abs(change);
            }
            const { data } = await model.weight.read();
            // Within a thousandth of the way: a rate each step as a rule, and far more where β₂ = 0 meets a gradient of 0.
            for (const [i, { value, way }] of expected.entries())
              expect(Math.abs((data[i] as number) - value)).toBeLessThan(1e-3 * Math.max(way, rate * (t + 1)) + 1e-6);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  it.each([
    ["float64", "reference", 1e-12],
    ["float64", "onnxruntime", 1e-12],
    ["float16", "reference", 2 ** -11],
    ["float16", "onnxruntime", 2 ** -11],
    ["bfloat16", "reference", 2 ** -8],
  ] as const)("trains parameters in %s on %s, with state that is at least float32", async (dtype, where, rounding) => {
    const on = where === "reference" ? referenceEngine() : engine;
    class Typed extends Module {
      readonly weight = new Parameter([2, 1], { dtype, initializer: () => Float32Array.of(0.75, -1.5) });
      readonly bias = new Parameter([1], { dtype });
    }
    const model = new Typed();
    const optimizer = new AdamW(model, { betas: [0.9, 0.99], weightDecay: 0.1 });
    // Squares of the first gradient are beyond float16, those of the second below it.
    const [large, small] = [512, 2 ** -14];
    const loss = () => sum(mul(model.weight, constant([[large], [small]], dtype))).add(sum(model.bias));
    await using step = compile(
      () => ({ ...optimizer.update(loss(), { learningRate: 0.25, clipNorm: 1e4 }) }),
      {},
      { engine: on },
    );
    const accumulation = () => {
      optimizer.accumulate(loss(), { weight: constant(3) });
      return {};
    };
    await using accumulate = compile(accumulation, {}, { engine: on });
    await using apply = compile(() => optimizer.apply({ learningRate: 0.25 }), {}, { engine: on });
    const expected = [0.75, -1.5];
    for (let t = 1; t <= 3; t++) {
      if (t < 3) await step({});
      else {
        await accumulate({});
        await accumulate({});
        await apply({});
      }
      // A gradient that stays the same: m̂ = g and v̂ = g².
      for (const [i, g] of [large, small].entries())
        expected[i] = (expected[i] as number) * (1 - 0.25 * 0.1) - (0.25 * g) / (g + 1e-8);
      const values = toNumbers(await model.weight.read());
      for (const [i, value] of values.entries()) expect(Math.abs(value - (expected[i] as number))).toBeLessThan(2 * t * rounding);
    }
    const wide = dtype === "float64" ? "float64" : "float32";
    for (const [name, variable] of optimizer.variables()) expect(variable.dtype).toBe(name === "stepCount" ? "float32" : wide);
    if (where === "reference") await on.close();
  });

  it("does not decay vectors unless it is told to, and leaves alone what is frozen", async () => {
    const network = new Network().initialize(1);
    for (const name of parameterNames)
      network[name].write(
        hostArray("float32", network[name].shape, new Float32Array(network[name].shape.reduce((a, b) => a * b, 1)).fill(1)),
      );
    network.freeze(/^weight2$/);
    const optimizer = new AdamW(network, { weightDecay: 0.5, flat: false });
    expect(optimizer.trained.map(({ path, weightDecay }) => [path, weightDecay])).toEqual([
      ["weight1", 0.5],
      ["bias1", 0],
      ["bias2", 0],
    ]);
    expect([...optimizer.variables().keys()]).toEqual([
      "firstMoment.weight1",
      "secondMoment.weight1",
      "firstMoment.bias1",
      "secondMoment.bias1",
      "firstMoment.bias2",
      "secondMoment.bias2",
      "stepCount",
    ]);
    // Gradients are all 0: only the decay moves anything.
    await using step = compile(
      () => optimizer.update(mul(sum(network.forward(parameterZeros)), 0), { learningRate: 0.1 }),
      {},
      { engine },
    );
    await step({});
    const first = async (name: (typeof parameterNames)[number]) => (await network[name].read()).data[0];
    expect(await Promise.all(parameterNames.map(first))).toEqual([Math.fround(0.95), 1, 1, 1]);
    expect(network.weight2.version).toBe(1);
  });

  const parameterZeros = new Variable([1, 5]);

  it("takes the first group that matches, by pattern or by function", () => {
    const optimizer = new AdamW(new Network(), {
      weightDecay: 0.3,
      groups: [
        { match: /1$/g, learningRateScale: 0.1 },
        { match: (path, { rank }) => rank === 1 && path.startsWith("bias"), weightDecay: 0 },
        { match: /./, weightDecay: 9 },
      ],
    });
    expect(optimizer.trained.map(({ path, learningRateScale, weightDecay }) => [path, learningRateScale, weightDecay])).toEqual([
      ["weight1", 0.1, 0.3],
      ["bias1", 0.1, 0.3],
      ["weight2", 1, 9],
      ["bias2", 1, 0],
    ]);
  });

  it("refuses betas outside [0, 1), a norm of 0 to clip to, and a model without anything to train", () => {
    for (const betas of [
      [1, 0.9],
      [0.9, -0.1],
      [Number.NaN, 0.9],
    ] as const)
      expect(() => new AdamW(new Network(), { betas })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    const network = new Network();
    const clip = (clipNorm: number) => () =>
      compile(() => new AdamW(network).update(sum(network.weight1), { learningRate: 1, clipNorm }), {}, { engine });
    for (const norm of [0, -1, Number.NaN]) expect(clip(norm)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    network.freeze(/./);
    expect(() => new AdamW(network)).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringMatching(/no parameter to train/) }),
    );
  });
});
