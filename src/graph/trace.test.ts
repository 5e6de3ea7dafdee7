import { describe, expect, it } from "vitest";
import { constant, random } from "./leaves.js";
import { add } from "./ops/index.js";
import {
  currentScope,
  currentTrace,
  fetchPattern,
  isFetched,
  isTraining,
  named,
  noiseName,
  runTrace,
  withScope,
  withTraining,
} from "./trace.js";

const tracing = <R>(fn: () => R, options: { readonly training?: boolean; readonly fetch?: readonly string[] } = {}) =>
  runTrace({ training: options.training ?? false, fetch: options.fetch ?? [] }, fn);

describe("fetchPattern", () => {
  it.each([
    ["layers.*.weights", "layers.3.weights", true],
    ["layers.*.weights", "layers.3.attn.weights", false],
    ["layers.**.weights", "layers.3.attn.weights", true],
    ["**", "anything.at.all", true],
    ["*", "a.b", false],
    ["a.b", "a.b", true],
    ["a.b", "aXb", false],
    ["a.b", "a.b.c", false],
    ["a", "a#2", false],
    ["a#2", "a#2", true],
    ["x+(y)", "x+(y)", true],
    ["loss*", "loss", true],
  ])("%s on %s: %s", (pattern, path, matches) => {
    expect(fetchPattern(pattern).test(path)).toBe(matches);
  });
});

describe("a trace", () => {
  it("exists while the function runs, also when it throws", () => {
    expect(currentTrace()).toBeUndefined();
    tracing(() => expect(currentTrace()).toBeDefined());
    expect(() =>
      tracing(() =>
        withScope("a", () => {
          throw new Error("inside");
        }),
      ),
    ).toThrow("inside");
    expect(currentTrace()).toBeUndefined();
    expect(currentScope()).toBe("");
  });

  it("does not nest, and does not wait", () => {
    expect(() => tracing(() => tracing(() => 1))).toThrow(/traced inside another one/);
    expect(() => tracing(async () => 1)).toThrow(/must not be async/);
    expect(currentTrace()).toBeUndefined();
  });

  it("says whether it is for training", () => {
    expect(isTraining()).toBe(false);
    expect(tracing(isTraining, { training: true }).result).toBe(true);
    expect(tracing(isTraining).result).toBe(false);
  });

  it("is for training or not in a part of the function alone", () => {
    const ask = () => [
      isTraining(),
      withTraining(false, () => [isTraining(), withTraining(true, isTraining), isTraining()]),
      withTraining(true, isTraining),
      isTraining(),
    ];
    expect(tracing(ask, { training: true }).result).toEqual([true, [false, true, false], true, true]);
    expect(tracing(ask).result).toEqual([false, [false, true, false], true, false]);
    expect(() =>
      withTraining(true, () => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(isTraining()).toBe(false);
  });
});

describe("names", () => {
  it("are paths under the module that is traced", () => {
    const { trace } = tracing(() => {
      withScope("layers.0", () => {
        named("weights", constant(1));
        withScope("layers.0.attn", () => named("weights", constant(2)));
        expect(currentScope()).toBe("layers.0");
      });
      named("logits", constant(3));
    });
    expect([...trace.named.keys()]).toEqual(["layers.0.weights", "layers.0.attn.weights", "logits"]);
  });

  it("are told apart when they come again, and give back the value", () => {
    const [a, b] = [constant(1), constant(2)];
    const { result, trace } = tracing(() => [named("x", a), named("x", b)]);
    expect(result).toEqual([a, b]);
    expect([...trace.named]).toEqual([
      ["x", a],
      ["x#2", b],
    ]);
    expect(named("x", a)).toBe(a);
  });

  it("are known to be wanted under the module they are asked in", () => {
    const ask = () => [withScope("layers.1", () => isFetched("weights")), isFetched("weights")];
    expect(tracing(ask, { fetch: ["layers.*.weights"] }).result).toEqual([true, false]);
    expect(tracing(ask, { fetch: ["**weights"] }).result).toEqual([true, true]);
    expect(ask()).toEqual([false, false]);
  });

  it("of noise are the same in every trace of a function, and different within one", () => {
    const draw = () =>
      withScope("dropout", () => [random.uniform([1]), random.uniform([1])].map(({ node }) => node.attributes.name));
    const { result } = tracing(draw);
    expect(result).toEqual(["dropout.uniform", "dropout.uniform#2"]);
    expect(tracing(draw).result).toEqual(result);
    expect(noiseName("mask")).toBe("mask");
  });
});

it("nodes remember the module in which they were made", () => {
  const value = tracing(() => withScope("layers.2.mlp", () => add(constant(1), 2))).result;
  expect(value.node.scope).toBe("layers.2.mlp");
});
