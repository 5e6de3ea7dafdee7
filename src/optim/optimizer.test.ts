import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { cast, constant, crossEntropy, notEqual, Parameter, sum, type Tensor } from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { Embedding, Linear, Module } from "../nn/index.js";
import { ones } from "../nn/initializers.js";
import { compile, float32, int32 } from "../program/index.js";
import { AdamW } from "./adamw.js";

const engine = await onnxRuntimeNode({ threads: 1 });

class Net extends Module {
  readonly embed = new Embedding(6, 4, {});
  readonly hidden = new Linear(4, 8);
  readonly head = new Linear(8, 6);

  forward(ids: Tensor): Tensor {
    return this.head.forward(this.hidden.forward(this.embed.forward(ids)).tanh());
  }
}

interface Batch {
  readonly ids: number[][];
  readonly labels: number[][];
}

/** Rows of 3 tokens; the labels that `kept` leaves out are ignored. */
function batchOf(seed: number, kept: readonly (readonly boolean[])[]): Batch {
  const random = namedRandom(seed, "batch");
  return {
    ids: kept.map((row) => row.map(() => random.below(6))),
    labels: kept.map((row) => row.map((keep) => (keep ? random.below(6) : -100))),
  };
}

const signature = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };

/** The programs of training a fresh network, with accumulation and without. */
function training(clipNorm: number | undefined) {
  const net = new Net().initialize(11);
  const optimizer = new AdamW(net, { weightDecay: 0.1, betas: [0.5, 0.9], epsilon: 1e-3 }); // far from a mere sign
  const clip = clipNorm === undefined ? {} : { clipNorm };
  const lossOf = ({ ids, labels }: { readonly ids: Tensor; readonly labels: Tensor }) => crossEntropy(net.forward(ids), labels);
  return {
    net,
    optimizer,
    step: compile((feeds) => optimizer.update(lossOf(feeds), { learningRate: 0.1, ...clip }), signature, { engine }),
    accumulate: compile(
      (feeds) => {
        optimizer.accumulate(lossOf(feeds), { weight: sum(cast(notEqual(feeds.labels, -100), "float32")) });
        return {};
      },
      signature,
      { engine },
    ),
    apply: compile(({ rate }) => optimizer.apply({ learningRate: rate, ...clip }), { rate: float32() }, { engine }),
    async values() {
      const all = [...net.variables(), ...optimizer.variables()];
      return new Map(
        await Promise.all(all.map(async ([name, variable]) => [name, [...(await variable.read()).data] as number[]] as const)),
      );
    },
  };
}

function expectSame(actual: ReadonlyMap<string, number[]>, expected: ReadonlyMap<string, number[]>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [name, values] of expected)
    for (const [i, value] of values.entries()) {
      const found = actual.get(name)?.[i] as number;
      if (!(Math.abs(found - value) < 2e-5)) expect.fail(`${name}[${i}] is ${found}, not ${value}`);
    }
}

describe("accumulation", () => {
  const rows = fc.array(fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 3 });

  it("over micro-steps of any size equals one step on all of them, however many labels are ignored in each", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(rows, { minLength: 1, maxLength: 4 }),
        fc.option(fc.constantFrom(0.05, 10), { nil: undefined }),
        async (parts, clipNorm) => {
          const [whole, split] = [training(clipNorm), training(clipNorm)];
          // Twice, so that what is left in the accumulators after the first step would show.
          for (const round of [1, 2]) {
            const batches = parts.map((kept, i) => batchOf(10 * round + i, kept));
            const { gradientNorm } = await whole.step({
              ids: batches.flatMap(({ ids }) => ids),
              labels: batches.flatMap(({ labels }) => labels),
            });
            for (const batch of batches) await split.accumulate(batch);
            const applied = await split.apply({ rate: 0.1 });
            expect(applied.gradientNorm.item()).toBeCloseTo(gradientNorm.item(), 5);
          }
          expectSame(await split.values(), await whole.values());
        },
      ),
      { numRuns: 8 },
    );
  });

  it("changes no parameter before it is applied, and can be discarded", async () => {
    const kept = [[true, true, true]];
    const [a, b] = [training(1), training(1)];
    const before = await a.values();
    await a.accumulate(batchOf(1, kept));
    await a.accumulate(batchOf(2, kept));
    expect(await a.values()).toEqual(before);
    await a.optimizer.discardAccumulated();
    for (const { accumulate, apply } of [a, b]) {
      await accumulate(batchOf(3, kept));
      await apply({ rate: 0.1 });
    }
    expect(await a.values()).toEqual(await b.values());
    expect(await a.values()).not.toEqual(before);
  });

  it("forgets a micro-step whose loss was not finite", async () => {
    const [a, b] = [training(1), training(1)];
    await using spoil = compile(
      ({ by }) => {
        a.optimizer.accumulate(sum(a.net.head.weight).mul(by), { weight: constant(1) });
        return {};
      },
      { by: float32() },
      { engine },
    );
    await spoil({ by: Number.POSITIVE_INFINITY });
    await a.optimizer.discardAccumulated();
    for (const { accumulate, apply } of [a, b]) {
      await accumulate(batchOf(3, [[true, true, false]]));
      await apply({ rate: 0.1 });
    }
    expect(await a.values()).toEqual(await b.values());
  });

  it("of nothing but ignored labels leaves gradients of 0", async () => {
    const a = training(1);
    await a.accumulate(batchOf(1, [[false, false, false]]));
    expect((await a.apply({ rate: 0.1 })).gradientNorm.item()).toBe(0);
    for (const values of (await a.values()).values()) expect(values.every(Number.isFinite)).toBe(true);
  });
});

describe("clipping", () => {
  it("scales all gradients by one factor, and leaves smaller ones as they are", async () => {
    const batch = batchOf(5, [
      [true, true, true],
      [true, false, true],
    ]);
    const moments = async (clipNorm: number | undefined) => {
      const { step, optimizer } = training(clipNorm);
      const { gradientNorm } = await step(batch);
      const first = await Promise.all(
        [...optimizer.variables()]
          .filter(([name]) => name.startsWith("firstMoment"))
          .map(async ([, variable]) => [...(await variable.read()).data] as number[]),
      );
      return { norm: gradientNorm.item(), gradients: first.flat().map((value) => value / (1 - 0.5)) };
    };
    const plain = await moments(undefined);
    expect(plain.norm).toBeCloseTo(Math.hypot(...plain.gradients), 5);
    for (const share of [0.5, 0.01, 3]) {
      const { norm, gradients } = await moments(plain.norm * share);
      expect(norm).toBeCloseTo(plain.norm, 6); // the norm is that before clipping
      for (const [i, value] of gradients.entries())
        expect(value).toBeCloseTo((plain.gradients[i] as number) * Math.min(1, share), 5);
    }
  });
});

describe("state", () => {
  it("put into another optimizer goes on as if nothing had happened, bit for bit", async () => {
    const batches = [1, 2, 3, 4].map((seed) =>
      batchOf(seed, [
        [true, true, true],
        [true, true, false],
      ]),
    );
    const [straight, first, second] = [training(1), training(1), training(1)];
    for (const batch of batches) await straight.step(batch);
    for (const batch of batches.slice(0, 2)) await first.step(batch);
    for (const part of ["net", "optimizer"] as const)
      for (const [name, variable] of first[part].variables())
        second[part]
          .variables()
          .get(name)
          ?.write(await variable.read());
    for (const batch of batches.slice(2)) await second.step(batch);
    expect(await second.values()).toEqual(await straight.values());
  });
});

describe("parameters that are not trained", () => {
  const net = new Net().initialize(1);
  const scale = new Parameter([], { initializer: ones, name: "scale" });
  const training = () =>
    compile(
      ({ ids, labels }) => {
        const optimizer = new AdamW(net);
        return optimizer.update(crossEntropy(net.forward(ids), labels).mul(scale), { learningRate: 0.1 });
      },
      signature,
      { engine },
    );

  it("are refused in the loss where they belong to no module, unless they are frozen", () => {
    expect(training).toThrow(/loss depends on a parameter \(scale float32\[\]\) that belongs to no module/);
    scale.trainable = false;
    expect(training).not.toThrow();
  });
});
