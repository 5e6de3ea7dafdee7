import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { compile } from "../program/compile.js";
import { bool, float32 } from "../program/signature.js";
import { cond } from "./cond.js";
import { symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { constant, input, random } from "./leaves.js";
import { full } from "./ops/fill.js";
import { add, exp, greater, log, mul, nonZero, reshape, sum, where } from "./ops/index.js";
import { printGraph } from "./print.js";
import { scan } from "./scan.js";
import type { Tensor } from "./tensor.js";
import { gradientProblems } from "./testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "./testing/values.js";
import { Variable } from "./variable.js";

const engines = [
  ["onnxruntime", await onnxRuntimeNode({ threads: 1 })],
  ["reference", referenceEngine()],
] as const;

describe.each(engines)("cond on %s", (_, engine) => {
  it("gives the results of the branch that was chosen, and its gradients", async () => {
    await using program = compile(
      ({ x, w }) => {
        const doubled = mul(x, 2); // read by both branches
        const [y] = cond(
          greater(sum(x), 0),
          () => [mul(mul(doubled, w), w)],
          () => [exp(doubled)],
        );
        const [dx, dw] = grad(sum(y), [x, w]) as [Tensor, Tensor];
        return { y, dx, dw };
      },
      { x: float32("n"), w: float32("n") },
      { engine },
    );
    const positive = await program({ x: [1, 2], w: [3, -1] });
    expect([positive.y, positive.dx, positive.dw].map(({ data }) => [...data])).toEqual([
      [18, 4],
      [18, 2],
      [12, -8],
    ]);
    const negative = await program({ x: [-1, 0], w: [3, -1] });
    const e = Math.fround(Math.exp(-2));
    expect([...negative.y.data]).toEqual([expect.closeTo(e, 6), 1]);
    expect([...negative.dx.data]).toEqual([expect.closeTo(2 * e, 6), 2]);
    expect([...negative.dw.data]).toEqual([0, 0]);
    expect([...(await program({ x: [], w: [] })).y.data]).toEqual([]);
  });

  it("computes the chosen branch alone: the other may not even be possible", async () => {
    await using program = compile(
      ({ x, safe }) => {
        // A reshape that fails unless exactly two elements are positive.
        const chosen = (): readonly [Tensor] => [reshape(mul(full([nonZero(greater(x, 0)).shape[1] ?? 0], 1), 1), [-1])];
        const [total] = cond(
          safe,
          () => [constant(0)],
          () => [sum(add(chosen()[0].slice(0, 0, 2), constant([1, 1])))],
        );
        return { total };
      },
      { x: float32("n"), safe: bool() },
      { engine },
    );
    expect((await program({ x: [1], safe: 1 })).total.item()).toBe(0);
    expect((await program({ x: [1, 2], safe: 0 })).total.item()).toBe(4);
    await expect(program({ x: [1], safe: 0 })).rejects.toThrow();
  });

  it("stands in loops, and loops in it", async () => {
    await using program = compile(
      ({ x, big }) => {
        const {
          carry: [total],
        } = scan(
          ([sumSoFar], [element]) => {
            const [next] = cond(
              greater(element, 0),
              () => [add(sumSoFar, element)],
              () => [mul(sumSoFar, 0.5)],
            );
            return { carry: [next] };
          },
          { carry: [constant(1)], sequences: [x] },
        );
        const [looped] = cond(
          big,
          () => [scan(([s], [e]) => ({ carry: [mul(s, e)] }), { carry: [total], sequences: [x] }).carry[0]],
          () => [total],
        );
        return { looped, dx: grad(looped, [x])[0] as Tensor };
      },
      { x: float32("n"), big: bool() },
      { engine },
    );
    // total = (1 + x₀)·½ + x₂; times x₀·x₁·x₂
    const plain = await program({ x: [3, -1, 2], big: 0 });
    expect([plain.looped.item(), ...plain.dx.data]).toEqual([4, 0.5, 0, 1]);
    const product = await program({ x: [3, -1, 2], big: 1 });
    expect([product.looped.item(), ...product.dx.data]).toEqual([-24, -8 - 3, 24, -12 - 6]);
  });

  it("draws noise for both branches, from the host", async () => {
    await using program = compile(
      ({ which }) => {
        const [y] = cond(
          which,
          () => [random.uniform([4], "first")],
          () => [mul(random.uniform([4], "second"), -1)],
        );
        return { y };
      },
      { which: bool() },
      { engine },
    );
    const [first, second] = [(await program({ which: 1 })).y, (await program({ which: 0 })).y];
    expect(first.toNumbers().every((value) => value >= 0)).toBe(true);
    expect(second.toNumbers().every((value) => value <= 0)).toBe(true);
  });
});

it("keeps a gradient of the other branch out, where `where` would make it NaN", () => {
  const x = input("x", "float64", []);
  const chosen = cond(
    greater(x, 0),
    () => [log(x)],
    () => [mul(x, 3)],
  )[0];
  const both = where(greater(x, 0), log(x), mul(x, 3));
  const gradients = [chosen, both].map((y) => numbersOf(grad(y, [x]), { x: 0 })[0]?.[0]);
  expect(gradients).toEqual([3, Number.NaN]);
});

it("has second gradients", () => {
  const x = input("x", "float64", [3]);
  const [y] = cond(
    greater(sum(x), 0),
    () => [mul(mul(x, x), x)],
    () => [exp(x)],
  );
  const graph = graphOf(grad(sum(y), [x]));
  for (const values of [
    [1, 2, -0.5],
    [-1, 0.25, -2],
  ])
    expect(gradientProblems(graph, inputsOf(graph, { x: values }), ["x"])).toEqual([]);
});

it("prints both branches", () => {
  const x = input("x", "float32", [symbol("n")]);
  const [y] = cond(
    greater(sum(x), 0),
    () => [mul(x, 2)],
    () => [x],
  );
  expect(printGraph(y)).toMatch(/= cond\(.*\n {2}captured .*\n.*mul.*\n {2}give .*\n {2}captured .*\n {2}give/);
});

describe("refuses", () => {
  const x = input("x", "float32", [2]);
  const truth = greater(sum(x), 0);
  it.each<[string, () => unknown, string]>([
    [
      "a condition for each element",
      () =>
        cond(
          greater(x, 0),
          () => [x],
          () => [x],
        ),
      "DTYPE",
    ],
    [
      "branches of different shapes",
      () =>
        cond(
          truth,
          () => [x],
          () => [sum(x)],
        ),
      "SHAPE",
    ],
    [
      "branches of different dtypes",
      () =>
        cond(
          truth,
          () => [x],
          () => [greater(x, 0)],
        ),
      "SHAPE",
    ],
    [
      "branches with different numbers of results",
      () =>
        cond(
          truth,
          () => [x],
          () => [x, x],
        ),
      "ARGUMENT",
    ],
    [
      "assignments inside",
      () => {
        const variable = new Variable([2], { name: "v" });
        const assigning = (): [Tensor] => {
          variable.assign(x);
          return [x];
        };
        compile(() => ({ y: cond(truth, assigning, () => [x])[0] }), {});
      },
      "TRACE",
    ],
  ])("%s", (_, make, code) => {
    expect(make).toThrow(expect.objectContaining({ code }));
  });
});
