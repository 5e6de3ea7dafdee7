import { describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import {
  add,
  constant,
  fromNumbers,
  grad,
  mul,
  reshape,
  roundStraightThrough,
  sum,
  type Tensor,
  toNumbers,
} from "../graph/index.js";
import { compile } from "../program/compile.js";
import { float32, int32 } from "../program/signature.js";
import { Conv2d } from "./conv.js";
import { Conv1D, Embedding, Linear } from "./linear.js";
import { linearLogits } from "./linear-cross-entropy.js";
import {
  effectiveWeight,
  type Parametrization,
  parametrizationChanged,
  parametrizationsOf,
  parametrize,
  unparametrize,
  type WeightedModule,
} from "./parametrization.js";

const engine = referenceEngine();
const signature = { x: float32(2, 4), ids: int32(3) };
const feeds = {
  x: [
    [1, -2, 0.5, 3],
    [0, 1, 2, -1],
  ],
  ids: [0, 2, 1],
};

/** A module with values, and what it makes of the feeds. */
function made<M extends WeightedModule>(module: M, run: (module: M, x: Tensor, ids: Tensor) => Tensor) {
  for (const [i, variable] of [module.weight, module.bias].entries())
    if (variable) {
      const values = Array.from({ length: variable.shape.reduce((a, b) => a * b, 1) }, (_, k) => Math.sin(3 * k + i));
      variable.write(fromNumbers("float32", variable.shape, values));
    }
  const program = compile(({ x, ids }) => ({ y: run(module, x, ids) }), signature, { engine });
  return { module, run: async () => toNumbers((await program(feeds)).y) };
}

const kinds = {
  Linear: () => made(new Linear(4, 3), (linear, x) => linear.forward(x)),
  Conv1D: () => made(new Conv1D(4, 3), (linear, x) => linear.forward(x)),
  Conv2d: () => made(new Conv2d(1, 2, { kernel: [1, 2] }), (conv, x) => conv.forward(reshape(x, [2, 1, 1, 4]))),
  "the output layer": () => made(new Linear(4, 5), (linear, x) => linearLogits(x, linear)),
  "a tied output layer": () => made(new Embedding(5, 4), (table, x) => linearLogits(x, table, { softCap: 30 })),
  Embedding: () => made(new Embedding(5, 4), (table, _, ids) => table.forward(ids)),
};

const twice: Parametrization = { weight: (weight) => mul(weight, 2) };
const plus = (value: number): Parametrization => {
  const around = (x: Tensor, inner: (x: Tensor) => Tensor) => add(inner(x), value);
  return { map: around, lookup: around };
};

describe.each(Object.entries(kinds))("parametrizations of %s", (_, make) => {
  it("change the weight that it computes with, and the compiled program follows", async () => {
    const { module, run } = make();
    const plain = await run();
    const before = [...(await module.weight.read()).data];
    parametrize(module, twice);
    const doubled = await run();
    expect(doubled).not.toEqual(plain);
    expect([...module.variables().keys()]).toEqual((module as WeightedModule).bias ? ["weight", "bias"] : ["weight"]);
    unparametrize(module, twice);
    expect(await run()).toEqual(plain);
    module.weight.write(
      fromNumbers(
        "float32",
        module.weight.shape,
        before.map((value) => 2 * Number(value)),
      ),
    );
    expect(await run()).toEqual(doubled);
  });

  it("stand around the map, the last one outermost", async () => {
    const { module, run } = make();
    const plain = await run();
    parametrize(module, plus(1));
    const timesTwo = (x: Tensor, inner: (x: Tensor) => Tensor) => mul(inner(x), 2);
    parametrize(module, { map: timesTwo, lookup: timesTwo });
    const capped = (value: number) => (make === kinds["a tied output layer"] ? 30 * Math.tanh(value / 30) : value);
    const uncapped = (value: number) => (make === kinds["a tied output layer"] ? 30 * Math.atanh(value / 30) : value);
    for (const [i, value] of (await run()).entries())
      expect(value).toBeCloseTo(capped(2 * (uncapped(plain[i] as number) + 1)), 4);
  });

  it("count only where they are active", async () => {
    const { module, run } = make();
    const plain = await run();
    let active = false;
    parametrize(module, { ...plus(1), isActive: () => active });
    expect(await run()).toEqual(plain);
    active = true;
    parametrizationChanged(module);
    expect(await run()).not.toEqual(plain);
  });
});

it("are listed, put on once, and taken off once", () => {
  const linear = new Linear(2, 2);
  parametrize(linear, twice);
  expect(parametrizationsOf(linear)).toEqual([twice]);
  expect(effectiveWeight(linear).node.inputs[0]).toBe(linear.weight);
  expect(() => parametrize(linear, twice)).toThrow(/has this parametrization already/);
  unparametrize(linear, twice);
  expect(() => unparametrize(linear, twice)).toThrow(/does not have this parametrization/);
  expect(effectiveWeight(linear)).toBe(linear.weight);
});

describe("weights in another form are trained through it", () => {
  const weight = [0.4, -1.6, 2.2, 0.7, -0.3, 1.1, 0.9, -2.4];
  const gradientOf = async (parametrization: Parametrization) => {
    const linear = new Linear(4, 2, { bias: false });
    linear.weight.write(fromNumbers("float32", [2, 4], weight));
    parametrize(linear, parametrization);
    const program = compile(
      ({ x }) => {
        const y = linear.forward(x);
        return { y, gradient: grad(sum(y), [linear.weight])[0] as Tensor };
      },
      { x: signature.x },
      { engine },
    );
    const { y, gradient } = await program({ x: feeds.x });
    return { y: toNumbers(y), gradient: Array.from(toNumbers(gradient)) };
  };
  const rows = [0, 1].map((i) => weight.slice(4 * i, 4 * i + 4));
  const product = (change: (value: number, place: number) => number) =>
    feeds.x.flatMap((x) =>
      rows.map((row, i) => row.reduce((total, value, k) => total + change(value, 4 * i + k) * (x[k] as number), 0)),
    );
  const sums = [0, 1, 2, 3].map((k) => feeds.x.reduce((total, x) => total + (x[k] as number), 0));

  it("pruned ones by a mask: what it leaves out has no gradient", async () => {
    const mask = [1, 0, 1, 1, 0, 0, 1, 0];
    const kept = constant(mask);
    const { y, gradient } = await gradientOf({ weight: (w) => mul(w, reshape(kept, [2, 4])) });
    for (const [i, value] of product((w, place) => w * (mask[place] as number)).entries()) expect(y[i]).toBeCloseTo(value, 5);
    expect(gradient.map((value) => value + 0)).toEqual(mask.map((keep, place) => keep * (sums[place % 4] as number) + 0));
  });

  it("rounded ones with a straight-through gradient", async () => {
    const { y, gradient } = await gradientOf({ weight: roundStraightThrough });
    for (const [i, value] of product(Math.round).entries()) expect(y[i]).toBeCloseTo(value, 5);
    expect(gradient).toEqual([...sums, ...sums]);
  });
});
