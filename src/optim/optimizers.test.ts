/** Every optimizer against its reference implementation, over 20 steps. */

import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
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
} from "../graph/index.js";
import { Module } from "../nn/module.js";
import { compile } from "../program/compile.js";
import { float32 } from "../program/signature.js";
import { Adafactor, AdamW, isHiddenMatrix, Lion, layerwiseGroups, Muon, type Optimizer, SGD, WeightAverage } from "./index.js";

const golden = decodeSafetensors(readFileSync(new URL("../../reference/golden/optimizers.safetensors", import.meta.url))).tensors;
const of = (name: string) => golden.get(name) as HostArray<"float32">;
const names = ["weight1", "bias1", "weight2", "bias2"] as const;
const steps = 20;

class Network extends Module {
  readonly weight1 = new Parameter([5, 6]);
  readonly bias1 = new Parameter([6]);
  readonly weight2 = new Parameter([6, 3]);
  readonly bias2 = new Parameter([3]);

  constructor() {
    super();
    for (const name of names) this[name].write(of(`start.${name}`));
  }

  forward(x: Tensor): Tensor {
    return matmul(matmul(x, this.weight1).add(this.bias1).tanh(), this.weight2).add(this.bias2);
  }
}

let engine: Engine;
beforeAll(async () => {
  engine = await onnxRuntimeNode({ threads: 1 });
});

async function expectRow(found: Promise<HostArray>, name: string, step: number): Promise<void> {
  const values = toNumbers(await found);
  const expected = of(name).data.slice(step * values.length, (step + 1) * values.length);
  for (const [i, value] of expected.entries())
    if (!(Math.abs((values[i] as number) - value) < 5e-5))
      expect.fail(`${name}[${i}] is ${values[i]} after step ${step + 1}, not ${value}`);
}

const undecayed = { groups: [] };
const cases: readonly (readonly [string, number, (network: Network, flat: boolean) => Optimizer])[] = [
  ["muon", 0.02, (network, flat) => new Muon(network, { ...undecayed, flat })],
  ["muonMatched", 0.02, (network, flat) => new Muon(network, { ...undecayed, adjustRate: "matchAdamW", nesterov: false, flat })],
  ["lion", 0.01, (network, flat) => new Lion(network, { ...undecayed, weightDecay: 0.1, flat })],
  ["sgd", 0.05, (network, flat) => new SGD(network, { flat })],
  ["sgdMomentum", 0.05, (network, flat) => new SGD(network, { ...undecayed, momentum: 0.9, weightDecay: 0.01, flat })],
  ["sgdNesterov", 0.05, (network, flat) => new SGD(network, { momentum: 0.9, nesterov: true, flat })],
  ["adafactor", 0.1, (network, flat) => new Adafactor(network, { ...undecayed, weightDecay: 0.05, flat })],
  [
    "adafactorTransformers",
    0.02,
    (network) => new Adafactor(network, { scaleParameter: false, relativeStep: false, epsilons: [1e-30, 1e-3] }),
  ],
];

describe("optimizers", () => {
  it.each(
    cases.flatMap(([name, rate, make]) =>
      [false, true].map((flat) => [name, flat ? "as vectors" : "each parameter", rate, make, flat] as const),
    ),
  )("%s follows its reference over 20 steps (%s)", async (name, _, learningRate, make, flat) => {
    const network = new Network();
    const optimizer = make(network, flat);
    const average = name === "sgd" ? new WeightAverage(network, { decay: 0.8 }) : undefined;
    await using step = compile(
      ({ x, y }) => {
        const result = optimizer.update(mean(square(network.forward(x).sub(y))), { learningRate });
        average?.update();
        return result;
      },
      { x: float32(8, 5), y: float32(8, 3) },
      { engine },
    );
    for (let i = 0; i < steps; i++) {
      await step({ x: of("x"), y: of("y") });
      for (const parameter of names) {
        await expectRow(network[parameter].read(), `${name}.${parameter}`, i);
        const averaged = average?.variables().get(`average.${parameter}`);
        if (averaged) await expectRow(averaged.read(), `average.${parameter}`, i);
      }
    }
    if (!average) return;
    await average.swap();
    await expectRow(network.weight1.read(), "average.weight1", steps - 1);
    await average.swap();
    await expectRow(network.weight1.read(), "sgd.weight1", steps - 1);
  });

  it("take gradients added up over micro-steps, and clipped, as those of one step", async () => {
    const run = async (make: (network: Network) => Optimizer, accumulated: boolean) => {
      const network = new Network();
      const optimizer = make(network);
      const loss = () => mul(sum(square(network.forward(constant(of("x"))))), 0.1);
      const update = { learningRate: 0.05, clipNorm: 0.5 };
      await using step = compile(() => optimizer.update(loss(), update), {}, { engine });
      await using micro = compile(
        () => {
          optimizer.accumulate(loss(), { weight: constant(2) });
          return {};
        },
        {},
        { engine },
      );
      await using apply = compile(() => optimizer.apply(update), {}, { engine });
      for (let i = 0; i < 3; i++) {
        if (!accumulated) await step({});
        else {
          for (let j = 0; j < 2; j++) await micro({});
          await apply({});
        }
      }
      return Promise.all(names.map(async (name) => [...toNumbers(await network[name].read())]));
    };
    for (const make of [
      (network: Network) => new Muon(network),
      (network: Network) => new SGD(network, { momentum: 0.9 }),
      (network: Network) => new Adafactor(network),
    ]) {
      const [once, twice] = [await run(make, false), await run(make, true)];
      for (const [p, values] of once.entries())
        for (const [i, value] of values.entries()) expect(twice[p]?.[i]).toBeCloseTo(value, 5);
    }
  });

  it("leave finite what has no gradient", async () => {
    for (const make of [
      (network: Network) => new Muon(network),
      (network: Network) => new Lion(network),
      (network: Network) => new Adafactor(network, { epsilons: [1e-30, 1e-3] }),
    ]) {
      const network = new Network();
      const optimizer = make(network);
      await using step = compile(() => optimizer.update(mul(sum(network.weight1), 0), { learningRate: 0.1 }), {}, { engine });
      await step({});
      for (const name of names)
        for (const value of toNumbers(await network[name].read())) expect(Number.isFinite(value)).toBe(true);
    }
  });

  it("refuse settings that make no sense", () => {
    for (const make of [
      () => new Lion(new Network(), { betas: [1, 0.9] }),
      () => new SGD(new Network(), { momentum: 1 }),
      () => new SGD(new Network(), { nesterov: true }),
      () => new Muon(new Network(), { momentum: -1 }),
      () => new Adafactor(new Network(), { decayExponent: 1 }),
      () => new Adafactor(new Network(), { clipThreshold: 0 }),
      () => new WeightAverage(new Network(), { decay: 1 }),
      () => layerwiseGroups({ decay: 0, layers: 2 }),
    ])
      expect(make).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("groups", () => {
  it("Muon takes matrices inside a model", () => {
    const shape = [4, 4];
    const inside = ["layers.0.selfAttn.qProj.weight", "h.1.mlp.cFc.weight", "layers.3.mlp.experts.2.upProj.weight"];
    const outside = [
      "embedTokens.weight",
      "wte.weight",
      "wpe.weight",
      "lmHead.weight",
      "embeddings.wordEmbeddings.weight",
      "classifier.weight",
    ];
    expect([...inside, ...outside].filter((path) => isHiddenMatrix(path, { shape }))).toEqual(inside);
    expect(isHiddenMatrix("norm.weight", { shape: [4] })).toBe(false);
  });

  it("layer-wise rates fall towards the embeddings", () => {
    class Layer extends Module {
      readonly weight = new Parameter([2, 2]);
      readonly norm = new Parameter([2]);
    }
    class Deep extends Module {
      readonly embedTokens = new Layer();
      readonly layers = [new Layer(), new Layer()];
      readonly lmHead = new Layer();
    }
    const optimizer = new AdamW(new Deep(), { weightDecay: 0.3, groups: layerwiseGroups({ decay: 0.5, layers: 2 }) });
    expect(optimizer.trained.map(({ path, learningRateScale, weightDecay }) => [path, learningRateScale, weightDecay])).toEqual([
      ["embedTokens.weight", 0.125, 0.3],
      ["embedTokens.norm", 0.125, 0],
      ["layers.0.weight", 0.25, 0.3],
      ["layers.0.norm", 0.25, 0],
      ["layers.1.weight", 0.5, 0.3],
      ["layers.1.norm", 0.5, 0],
      ["lmHead.weight", 1, 0.3],
      ["lmHead.norm", 1, 0],
    ]);
  });
});

describe("state", () => {
  class Two extends Module {
    constructor(order: readonly ("first" | "second")[]) {
      super();
      for (const name of order) Object.defineProperty(this, name, { value: new Parameter([2]), enumerable: true });
    }
  }
  const values = (...numbers: number[]) => hostArray("float32", [numbers.length], Float32Array.from(numbers));

  it("is named by parameters, so that fields may change their places", async () => {
    const [old, swapped] = [new AdamW(new Two(["first", "second"])), new AdamW(new Two(["second", "first"]))];
    const namesOf = ["firstMoment.first", "firstMoment.second", "secondMoment.first", "secondMoment.second", "stepCount"];
    expect([...old.variables().keys()].sort()).toEqual(namesOf);
    old.variables().get("firstMoment.first")?.write(values(1, 2));
    old.variables().get("firstMoment.second")?.write(values(3, 4));
    for (const [name, variable] of old.variables())
      swapped
        .variables()
        .get(name)
        ?.write(await variable.read());
    expect((await swapped.variables().get("firstMoment.first")?.read())?.data).toEqual(Float32Array.of(1, 2));
    expect((await swapped.variablesNamed(["firstMoment.all.0"]).get("firstMoment.all.0")?.read())?.data).toEqual(
      Float32Array.of(3, 4, 1, 2),
    );
    expect(() => old.variables().get("firstMoment.first")?.write(values(1))).toThrow(expect.objectContaining({ code: "SHAPE" }));
  });

  it("of an older file is one vector in the order of the parameters", async () => {
    const optimizer = new AdamW(new Two(["first", "second"]));
    const older = optimizer.variablesNamed(["firstMoment.all.0", "secondMoment.all.0", "stepCount"]);
    expect([...older.keys()]).toEqual(["firstMoment.all.0", "secondMoment.all.0", "stepCount"]);
    older.get("firstMoment.all.0")?.write(values(1, 2, 3, 4));
    expect((await optimizer.variables().get("firstMoment.second")?.read())?.data).toEqual(Float32Array.of(3, 4));
    expect([...optimizer.variablesNamed(["firstMoment.first"]).keys()]).toEqual([...optimizer.variables().keys()]);
  });

  it("written after an engine has taken it is used from then on", async () => {
    const network = new Network();
    const optimizer = new SGD(network, { momentum: 0.5 });
    await using step = compile(() => optimizer.update(mul(sum(network.bias1), 0), { learningRate: 1 }), {}, { engine });
    await step({});
    const before = toNumbers(await network.bias2.read());
    optimizer
      .variables()
      .get("momentum.bias2")
      ?.write(values(2, 4, 6));
    expect((await optimizer.variables().get("momentum.bias2")?.read())?.data).toEqual(Float32Array.of(2, 4, 6));
    await step({});
    const after = toNumbers(await network.bias2.read());
    expect([0, 1, 2].map((i) => (before[i] as number) - (after[i] as number))).toEqual(
      [1, 2, 3].map((x) => expect.closeTo(x, 5)),
    );
    expect((await optimizer.variables().get("momentum.bias2")?.read())?.data).toEqual(Float32Array.of(1, 2, 3));
  });
});
