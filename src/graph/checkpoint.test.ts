import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkpoint } from "./checkpoint.js";
import { customGradient } from "./custom-gradient.js";
import { symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { nodesOf } from "./graph.js";
import { input, noiseOp, random } from "./leaves.js";
import { add, cast, gather, matmul, mul, sigmoid, sin, sum, tanh, transpose } from "./ops/index.js";
import { scan } from "./scan.js";
import type { Tensor } from "./tensor.js";
import { gradientProblems } from "./testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "./testing/values.js";
import { named, runTrace, withScope } from "./trace.js";
import { Parameter } from "./variable.js";

const plain = <R extends Tensor | readonly Tensor[]>(fn: () => R): R => fn();

const countOps = (tensors: readonly Tensor[], name: string): number =>
  nodesOf(tensors).filter(({ op }) => op.name === name).length;

const dropout = (x: Tensor): Tensor => mul(x, cast(random.bernoulli(x.shape, 0.5), x.dtype));

const weights = Array.from(
  { length: 3 },
  (_, layer) =>
    new Parameter([4, 4], {
      name: `layers.${layer}.weight`,
      initializer: (_shape, { normal }) => Float32Array.from({ length: 16 }, normal),
    }),
);

/** Layers of which each reads its weight and a tensor from outside, with dropout, each run by `wrap`. */
function network(x: Tensor, scale: Tensor, wrap: typeof plain): Tensor {
  const layers = weights.reduce(
    (h, weight, i) =>
      withScope(`layers.${i}`, () => wrap(() => named("output", mul(dropout(tanh(matmul(h, transpose(weight)))), sin(scale))))),
    x,
  );
  return sum(mul(layers, layers));
}

const feeds = {
  x: [
    [0.1, -0.7, 0.4, 1.1],
    [0.9, 0.2, -0.3, -0.5],
  ],
  scale: [0.3, 0.8, -0.2, 1.4],
};

/** Loss and gradients, of a trace of its own so that noise has the same names. */
function lossAndGradients(wrap: typeof plain): readonly Tensor[] {
  const x = input("x", "float32", [symbol("rows"), 4]);
  const scale = input("scale", "float32", [4]);
  return runTrace({ training: true, fetch: [] }, () => {
    const loss = network(x, scale, wrap);
    return [loss, ...grad(loss, [x, scale, ...weights])];
  }).result;
}

/** Gradients that arrive over several ways may be summed in another order. */
function expectClose(actual: readonly number[][], expected: readonly number[][]): void {
  expect(actual.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  for (const [i, values] of expected.entries())
    for (const [k, value] of values.entries()) expect(actual[i]?.[k]).toBeCloseTo(value, 12);
}

const insideCheckpoint: typeof plain = (fn) => checkpoint(() => checkpoint(fn));

describe("checkpoint", () => {
  it.each([
    ["around each layer", checkpoint],
    ["inside another one", insideCheckpoint],
  ] as const)("%s changes neither values nor gradients, with dropout", (_, wrap) => {
    expect(numbersOf(lossAndGradients(wrap), feeds)).toEqual(numbersOf(lossAndGradients(plain), feeds));
  });

  it("around everything, layers in it wrapped again, changes nothing either", () => {
    const everything = () => {
      const x = input("x", "float32", [2, 4]);
      const scale = input("scale", "float32", [4]);
      return runTrace({ training: true, fetch: [] }, () => {
        const loss = checkpoint(() => network(x, scale, checkpoint));
        return [loss, ...grad(loss, [x, scale, ...weights])];
      }).result;
    };
    expect(numbersOf(everything(), feeds)).toEqual(numbersOf(lossAndGradients(plain), feeds));
  });

  it("recomputes behind a barrier instead of keeping", () => {
    const kept = lossAndGradients(plain);
    const recomputed = lossAndGradients(checkpoint);
    expect(countOps(kept, "tanh")).toBe(3);
    expect(countOps(recomputed, "tanh")).toBe(6);
    // Each copied tanh can only run after a barrier; the three of the forward pass need none.
    const waiting = nodesOf(recomputed)
      .filter(({ op }) => op.name === "tanh")
      .map(({ outputs }) => countOps(outputs, "waitFor") > 0);
    expect(waiting.filter(Boolean).length).toBe(3);
    // Of the forward pass, the gradients read nothing but the inputs of the layers.
    const forward = new Set(nodesOf([recomputed[0] as Tensor]).filter(({ op }) => op.name === "tanh"));
    const readers = nodesOf(recomputed).filter(({ inputs }) => inputs.some(({ node }) => forward.has(node)));
    expect(readers.every((node) => nodesOf([recomputed[0] as Tensor]).includes(node))).toBe(true);
  });

  it("uses the same noise when it recomputes, and names values once", () => {
    const x = input("x", "float32", [2, 4]);
    const { result, trace } = runTrace({ training: true, fetch: [] }, () => {
      const loss = network(x, input("scale", "float32", [4]), checkpoint);
      return [loss, ...grad(loss, [x])];
    });
    expect(nodesOf(result).filter(({ op }) => op === noiseOp).length).toBe(3);
    expect([...trace.named.keys()]).toEqual(["layers.0.output", "layers.1.output", "layers.2.output"]);
  });

  it("has gradients of gradients", () => {
    const x = input("x", "float32", [2, 3]);
    const w = input("w", "float32", [3, 3]);
    const y = checkpoint(() => sigmoid(matmul(tanh(matmul(x, w)), w)));
    const gradients = grad(sum(mul(y, y)), [x, w]);
    const graph = graphOf([gradients.map((gradient) => sum(mul(gradient, gradient))).reduce((a, b) => add(a, b))]);
    const inputs = inputsOf(graph, {
      x: [
        [0.1, 0.5, -0.3],
        [0.7, -0.2, 0.4],
      ],
      w: [
        [0.2, 0.9, -0.4],
        [0.6, -0.8, 0.1],
        [0.3, 0.5, 0.7],
      ],
    });
    expect(gradientProblems(graph, inputs, ["x", "w"], { tolerance: 1e-5 })).toEqual([]);
  });

  it("passes on several results, and what was not computed inside as it is", () => {
    const x = input("x", "float32", [3]);
    const w = new Parameter([3], { initializer: () => new Float32Array([1, 2, 3]) });
    const outside = mul(x, 2);
    const [y, z, again, weight] = checkpoint(() => {
      const squared = mul(outside, outside);
      return [squared, mul(squared, w), outside, w] as const;
    });
    expect(again).toBe(outside);
    expect(weight).toBe(w);
    expect(numbersOf([...grad(add(sum(y), sum(z)), [x, w])], { x: [1, 2, 3] })).toEqual([
      [16, 48, 96],
      [4, 16, 36],
    ]);
  });

  it("takes whole numbers from outside", () => {
    const ids = input("ids", "int64", [3]);
    const table = new Parameter([2, 2], { initializer: () => new Float32Array([1, 2, 3, 4]) });
    const y = checkpoint(() => gather(table, ids, 0));
    expect(numbersOf(grad(sum(mul(y, y)), [table]), { ids: [0, 1, 1] })).toEqual([[2, 4, 12, 16]]);
  });

  it("keeps a custom gradient that it contains", () => {
    const x = input("x", "float32", []);
    const odd = customGradient(
      (t: Tensor) => [mul(t, t)],
      ({ inputs: [t], gradients: [dy] }) => [mul(mul(dy, t), 100)],
    );
    const y = checkpoint(() => odd(sin(x))[0]);
    expect(numbersOf(grad(y, [x]), { x: 0.5 })[0]?.[0]).toBeCloseTo(100 * Math.sin(0.5) * Math.cos(0.5), 10);
  });

  it("works around and inside a scan", () => {
    const build = (outer: typeof plain, inner: typeof plain) => {
      const x = input("x", "float32", [3, 2]);
      const w = input("w", "float32", [2, 2]);
      const last = outer(
        () =>
          scan(([state], [element]) => ({ carry: [inner(() => tanh(matmul(add(state, element), sin(w))))] }), {
            carry: [mul(sum(x, { axes: [0] }), 0.1)],
            sequences: [x],
          }).carry[0],
      );
      return [last, ...grad(sum(mul(last, last)), [x, w])];
    };
    const data = {
      x: [
        [0.1, 0.2],
        [-0.5, 0.7],
        [0.3, -0.9],
      ],
      w: [
        [0.4, -0.6],
        [0.8, 0.3],
      ],
    };
    const expected = numbersOf(build(plain, plain), data);
    for (const [outer, inner] of [
      [checkpoint, plain],
      [plain, checkpoint],
      [checkpoint, checkpoint],
    ] as const)
      expectClose(numbersOf(build(outer, inner), data), expected);
  });

  it("is the same as none for any chain of functions, however it is cut", () => {
    const functions = [
      tanh,
      sin,
      sigmoid,
      (t: Tensor) => mul(t, t),
      (t: Tensor) => dropout(t),
      (t: Tensor) => add(t, 0.5),
    ] as const;
    const chain = (picks: readonly { readonly at: number; readonly cut: boolean }[], cutting: boolean) =>
      runTrace({ training: true, fetch: [] }, () => {
        const x = input("x", "float32", [5]);
        const y = picks.reduce((t, { at, cut }) => {
          const apply = () => (functions[at] as (typeof functions)[0])(t);
          return cutting && cut ? checkpoint(apply) : apply();
        }, x);
        return [y, ...grad(sum(mul(y, y)), [x])];
      }).result;
    const pick = fc.record({ at: fc.nat(functions.length - 1), cut: fc.boolean() });
    fc.assert(
      fc.property(fc.array(pick, { maxLength: 8 }), (picks) => {
        const data = { x: [0.3, -1.2, 0.8, 2.1, -0.4] };
        expectClose(numbersOf(chain(picks, true), data), numbersOf(chain(picks, false), data));
      }),
      { numRuns: 60 },
    );
  });
});
