/** New values written over old ones: the same bits as with second buffers, less memory, and a step that does not count changes nothing. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Engine, LoadedModel, ModelSource } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { slowEngine } from "../engine/testing/slow-engine.js";
import { inWorker } from "../engine/worker/engine.js";
import {
  abs,
  add,
  hostArray,
  matmul,
  maximum,
  mean,
  mul,
  Parameter,
  sigmoid,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  Variable,
} from "../graph/index.js";
import { Module } from "../nn/module.js";
import { Adafactor, AdamW, Lion, Muon, type Optimizer, SGD } from "../optim/index.js";
import { compile } from "./compile.js";
import { float32 } from "./signature.js";

const cpu = await onnxRuntimeNode({ threads: 2 });

const variableOf = (name: string, ...values: number[]): Variable =>
  new Variable([values.length], { name, initializer: () => Float32Array.from(values) });
const valuesOf = async (variable: Variable): Promise<number[]> => Array.from((await variable.read()).data as Float32Array);

/** Two layers, of which the first is updated in two pieces where it is 1,000 wide. */
class Net extends Module {
  readonly first: Parameter;
  readonly second = new Parameter([1100, 3], { initializer: (shape, random) => weights(shape, random.normal) });
  readonly bias = new Parameter([3]);

  constructor(width: number) {
    super();
    this.first = new Parameter([1100, width], { initializer: (shape, random) => weights(shape, random.normal) });
  }

  loss(x: Tensor): Tensor {
    const hidden = sigmoid(matmul(x, this.first, { transposeB: true }));
    return mean(square(add(matmul(hidden, this.second), this.bias)));
  }
}

const weights = (shape: readonly number[], draw: () => number) =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => draw() / 30);

/** Losses and everything that is left after some steps, of which the third is refused. */
async function train(
  engine: Engine,
  updateInPlace: boolean,
  width = 1000,
  makeOptimizer: (net: Net) => Optimizer = (net) => new AdamW(net, { flat: false }),
) {
  const net = new Net(width).initialize(5);
  const optimizer = makeOptimizer(net);
  await using program = compile(
    ({ x }) => {
      const loss = net.loss(x);
      const { gradientNorm } = optimizer.update(loss, { learningRate: 1e-4, clipNorm: 0.5 });
      return { loss, gradientNorm };
    },
    { x: float32("rows", width) },
    { engine, updateInPlace },
  );
  const x = hostArray(
    "float32",
    [4, width],
    Float32Array.from({ length: 4 * width }, (_, i) => Math.sin(i)),
  );
  const losses: number[] = [];
  for (let i = 0; i < 5; i++) losses.push((await program({ x }, { commit: () => i !== 2 })).loss.item());
  const state = [...net.variables().values(), ...optimizer.variables().values()];
  return { losses, state: await Promise.all(state.map(async (variable) => (await variable.read()).data)) };
}

/** Bit for bit. */
function expectSame(actual: readonly ArrayBufferView[], expected: readonly ArrayBufferView[]): void {
  for (const [i, values] of (actual as readonly Float32Array[]).entries()) {
    const others = expected[i] as Float32Array;
    const wrong = values.findIndex((value, k) => !Object.is(value, others[k]));
    expect(wrong, `element ${wrong} of ${i}: ${values[wrong]} instead of ${others[wrong]}`).toBe(-1);
  }
}

const engines: readonly (readonly [string, () => Promise<Engine>])[] = [
  ["reference", async () => referenceEngine()],
  ["onnxruntime", async () => cpu],
  ["onnxruntime in a worker", () => inWorker({ engine: "onnxruntime", threads: 2 })],
];

describe.each(engines)("training on %s", (name, create) => {
  it("gives the same bits as with second buffers", async () => {
    const engine = await create();
    const width = name === "reference" ? 10 : 1000;
    const [inPlace, beside] = [await train(engine, true, width), await train(engine, false, width)];
    expect(inPlace.losses).toEqual(beside.losses);
    expect(inPlace.losses[2]).toBe(inPlace.losses[3]); // what was refused has changed nothing
    expect(inPlace.losses[4]).toBeLessThan(inPlace.losses[0] as number);
    expectSame(inPlace.state, beside.state);
    if (name !== "onnxruntime") await engine.close();
  }, 60_000);
});

/** An engine that says how many bytes of buffers there are, and fails in the run that writes over inputs while it is told to. */
function watched(target: Engine) {
  const sizes = new Map<object, number>();
  const watch = { mostBytes: 0, broken: false, engine: target };
  const made = async (making: ReturnType<Engine["allocate"]>) => {
    const buffer = await making;
    sizes.set(buffer, 4 * buffer.shape.reduce((a, b) => a * b, 1));
    watch.mostBytes = Math.max(
      watch.mostBytes,
      [...sizes.values()].reduce((a, b) => a + b, 0),
    );
    return buffer;
  };
  const load = async (source: ModelSource): Promise<LoadedModel> => {
    const model = await target.load(source);
    return {
      async run(inputs, outputs) {
        if (watch.broken && source.overwrites?.size) throw new Error("The device was lost.");
        return model.run(inputs, outputs);
      },
      release: () => model.release(),
    };
  };
  const own: Partial<Engine> = {
    load,
    allocate: (...given) => made(target.allocate(...given)),
    upload: (array) => made(target.upload(array)),
    release(buffer) {
      sizes.delete(buffer);
      return target.release(buffer);
    },
  };
  watch.engine = new Proxy(target, {
    get(_, key) {
      const value = (own as Record<string | symbol, unknown>)[key] ?? (Reflect.get(target, key, target) as unknown);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return watch;
}

describe.each<[string, (net: Net) => Optimizer]>([
  ["Lion", (net) => new Lion(net, { flat: false })],
  ["SGD with momentum", (net) => new SGD(net, { flat: false, momentum: 0.9 })],
  ["Adafactor", (net) => new Adafactor(net)],
  ["Muon", (net) => new Muon(net)],
])("%s", (_, makeOptimizer) => {
  it("gives the same bits in place, whatever of it is done element by element", async () => {
    const [inPlace, beside] = [await train(cpu, true, 20, makeOptimizer), await train(cpu, false, 20, makeOptimizer)];
    expect(inPlace.losses).toEqual(beside.losses);
    expectSame(inPlace.state, beside.state);
  });
});

describe("a step in place", () => {
  it("holds the state once, and its gradients", async () => {
    const [inPlace, beside] = [watched(cpu), watched(cpu)];
    await train(inPlace.engine, true);
    await train(beside.engine, false);
    const parameters = 4 * (1100 * 1000 + 1100 * 3 + 3);
    expect(inPlace.mostBytes / parameters).toBeLessThan(4.1);
    expect(beside.mostBytes / parameters).toBeGreaterThan(5.9);
  });

  it("is taken by default for 64 MiB of state, and not for less", async () => {
    const bytesOfStep = async (elements: number) => {
      const weight = new Variable([elements], { name: "weight" });
      const { engine, ...watch } = watched(cpu);
      const counted = watched(engine);
      await using program = compile(
        () => {
          weight.assign(add(weight, 1));
          return {};
        },
        {},
        { engine: counted.engine },
      );
      await program({});
      expect(watch.broken).toBe(false);
      return counted.mostBytes / 4 / elements;
    };
    expect(await bytesOfStep(2 ** 24)).toBe(1);
    expect(await bytesOfStep(2 ** 16)).toBe(2);
  });

  it("that fails in the first run changes nothing; in the second it says that the state is lost", async () => {
    const device = watched(referenceEngine());
    const weight = variableOf("weight", 1, 2);
    await using program = compile(
      ({ by }) => {
        weight.assign(add(weight, by));
        return { total: sum(weight) };
      },
      { by: float32() },
      { engine: device.engine, updateInPlace: true },
    );
    await program({ by: 1 });
    expect(await valuesOf(weight)).toEqual([2, 3]);
    const fail = () => {
      throw new RangeError("no such step");
    };
    await expect(program({ by: 5 }, { commit: fail })).rejects.toThrow(RangeError);
    expect(await valuesOf(weight)).toEqual([2, 3]);
    device.broken = true;
    await expect(program({ by: 5 })).rejects.toMatchObject({
      code: "STATE",
      message: expect.stringMatching(/half updated.*checkpoint.*device was lost/s),
    });
  });

  it("loses no write of the host, and lets nobody read half a value", async () => {
    const slow = slowEngine(referenceEngine(), "run");
    const [weight, other] = [variableOf("weight", 1, 2), variableOf("other", 5)];
    const program = compile(
      () => {
        weight.assign(mul(weight, 2));
        other.assign(mul(other, 2));
        return { before: weight };
      },
      {},
      { engine: slow.engine, updateInPlace: true },
    );
    const first = program({});
    await slow.begun();
    weight.write(hostArray("float32", [2], Float32Array.of(10, 20)));
    slow.letGo();
    expect([...(await first).before.toNumbers()]).toEqual([1, 2]);
    expect([await valuesOf(weight), await valuesOf(other)]).toEqual([[10, 20], [10]]);
    const calls = [program({}), program({})];
    const seen = await Promise.all(Array.from({ length: 10 }, () => valuesOf(other)));
    for (const [value] of seen) expect([10, 20, 40]).toContain(value);
    await Promise.all(calls);
    expect([await valuesOf(weight), await valuesOf(other)]).toEqual([[40, 80], [40]]);
  });
});

describe("a step in place, whatever it computes", () => {
  it("keeps apart what must be read before it is written: any updates of a few variables from one another", async () => {
    const size = 2 ** 20 + 7; // two pieces
    const start = [1, 2, 3].map((k) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * k)));
    type Step = readonly [kind: number, a: number, b: number];
    const run = async (steps: readonly Step[], updates: readonly number[], updateInPlace: boolean) => {
      const variables = start.map((values, i) => new Variable([size], { name: `v${i}`, initializer: () => values.slice() }));
      await using program = compile(
        ({ factor }) => {
          const made: Tensor[] = [...variables, factor];
          const pick = (i: number) => made[i % made.length] as Tensor;
          const makers: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
            add,
            sub,
            mul,
            maximum,
            (a) => sqrt(abs(a)),
            (a, b) => add(a, mean(b)),
          ];
          for (const [kind, a, b] of steps) made.push((makers[kind % makers.length] as (typeof makers)[0])(pick(a), pick(b)));
          for (const [i, variable] of variables.entries()) {
            const value = pick(updates[i] as number);
            if (value.rank === 1) variable.assign(value);
          }
          return { total: sum(made.at(-1) as Tensor) };
        },
        { factor: float32() },
        { engine: cpu, updateInPlace, specialize: true },
      );
      for (const factor of [0.5, 2]) await program({ factor });
      return Promise.all(variables.map(async (variable) => (await variable.read()).data as Float32Array));
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 6 }),
        fc.tuple(fc.nat(), fc.nat(), fc.nat()),
        async (steps, updates) => {
          expectSame(await run(steps, updates, true), await run(steps, updates, false));
        },
      ),
      { numRuns: 12 },
    );
  }, 60_000);
});
