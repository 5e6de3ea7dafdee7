import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { evaluate } from "../engine/reference/interpret.js";
import { graphOf, runOnce } from "../engine/testing/graphs.js";
import "../graph/methods.js";
import { checkpoint } from "../graph/checkpoint.js";
import { bindShape, symbol } from "../graph/dim.js";
import { grad } from "../graph/gradient.js";
import { type Graph, nodesOf, type Pass } from "../graph/graph.js";
import { elementCount, fromNumbers, type HostArray, toNumbers } from "../graph/host-array.js";
import { constant, input, random } from "../graph/leaves.js";
import {
  add,
  broadcastTo,
  div,
  equal,
  exp,
  full,
  gather,
  matmul,
  maximum,
  mean,
  mul,
  nonZero,
  reshape,
  sin,
  softmax,
  sub,
  sum,
  transpose,
  where,
} from "../graph/ops/index.js";
import { printGraph } from "../graph/print.js";
import { namedRandom } from "../graph/random.js";
import { scan } from "../graph/scan.js";
import type { Tensor } from "../graph/tensor.js";
import { optimize } from "./index.js";
import { broadcastInOperators, commonSubexpressions, simplify, standardPasses, transposeIntoMatmul } from "./passes/index.js";

/** What a graph computes, without its inputs and constants. */
const operatorsOf = (graph: Graph): string[] =>
  nodesOf(graph.outputs.values())
    .filter(({ op }) => !op.leaf)
    .map(({ op }) => op.name);

const rows = symbol("rows");
const x = input("x", "float32", [rows, 4]);
const y = input("y", "float32", [rows, 4]);
const row = input("row", "float32", [4]);
const one = input("one", "float32", [1]);
const square = input("square", "float32", [3, 4, 4]);
const inputs = { x, y, row, one, square };

/** The values of a graph's outputs for random inputs. */
function valuesOf(graph: Graph, seed = 0, rowCount = 3): readonly HostArray[] {
  const bindings = new Map([...(rows.terms[0]?.atoms ?? [])].map((atom) => [atom, rowCount]));
  const given = new Map<string, HostArray>();
  for (const [name, { dtype, shape }] of graph.inputs) {
    const { normal } = namedRandom(seed, name);
    const sizes = bindShape(shape, bindings);
    given.set(name, fromNumbers(dtype, sizes, Array.from({ length: elementCount(sizes) }, normal)));
  }
  const values = evaluate(graph, given, { exact: true });
  return [...graph.outputs.keys()].map((name) => values.get(name) as HostArray);
}

function expectSameValues(after: Graph, before: Graph): void {
  expect([...after.outputs.keys()]).toEqual([...before.outputs.keys()]);
  expect(after.inputs).toEqual(before.inputs);
  for (const rowCount of [1, 3]) {
    const expected = valuesOf(before, 1, rowCount);
    for (const [i, actual] of valuesOf(after, 1, rowCount).entries()) {
      expect(actual.dtype).toBe(expected[i]?.dtype);
      expect(actual.shape).toEqual(expected[i]?.shape);
      const target = toNumbers(expected[i] as HostArray);
      for (const [k, value] of toNumbers(actual).entries()) expect(value).toBeCloseTo(target[k] as number, 10);
    }
  }
}

/** Applies a pass, compares values, and says what is left. */
function applied(pass: Pass, outputs: Readonly<Record<string, Tensor>>): string[] {
  const before = graphOf(inputs, outputs);
  const printed = printGraph(before);
  const result = pass(before);
  expectSameValues(result, before);
  expect(printGraph(before)).toBe(printed); // the given graph stays as it was
  expect(printGraph(pass(result))).toBe(printGraph(result));
  return operatorsOf(result);
}

describe("simplify", () => {
  it.each<[string, () => Tensor]>([
    ["x · 1", () => mul(x, 1)],
    ["1 · x", () => mul(1, x)],
    ["x / 1", () => div(x, 1)],
    ["x + 0", () => add(x, 0)],
    ["0 + x", () => add(0, x)],
    ["x − 0", () => sub(x, 0)],
    ["x · ones", () => mul(x, full([rows, 4], 1))],
    ["several at once", () => div(mul(add(x, 0), 1), full([4], 1))],
  ])("leaves out %s", (_, make) => {
    expect(applied(simplify, { result: make() })).toEqual([]);
    expect(applied(simplify, { result: sin(make()) })).toEqual(["sin"]);
  });

  it("reads half precision constants by value: the bits of 2⁻²⁴ are 1, those of 1 are 15,360", () => {
    const half = input("half", "float16", [4]);
    const left = (result: Tensor) => operatorsOf(simplify(graphOf({ half }, { result })));
    expect(left(mul(half, 2 ** -24))).toEqual(["mul"]);
    expect(left(mul(half, 1))).toEqual([]);
  });

  it.each<[string, () => Tensor, string[]]>([
    ["1 / x", () => div(1, x), ["div"]],
    ["0 − x", () => sub(0, x), ["sub"]],
    ["x · 0", () => mul(x, 0), ["mul"]],
    ["x + 1", () => add(x, 1), ["add"]],
    ["x · 1 that makes x larger", () => mul(row, full([rows, 4], 1)), ["expand", "mul"]],
    ["x + 0 that makes x larger", () => add(one, full([4], 0)), ["expand", "add"]],
    ["x · array", () => mul(x, constant([1, 1, 1, 2])), ["mul"]],
  ])("keeps %s", (_, make, left) => {
    expect(applied(simplify, { result: make() })).toEqual(left);
  });
});

describe("transposes into matmul", () => {
  const swapped = (tensor: Tensor) => transpose(tensor, tensor.rank === 2 ? [1, 0] : [0, 2, 1]);

  it("reads operands transposed", () => {
    expect(applied(transposeIntoMatmul, { a: matmul(x, swapped(y)), b: matmul(swapped(x), y) })).toEqual(["matmul", "matmul"]);
    expect(applied(transposeIntoMatmul, { c: matmul(swapped(square), swapped(square)) })).toEqual(["matmul"]);
  });

  it("turns flags that are set around", () => {
    for (const transposeA of [false, true])
      for (const transposeB of [false, true])
        expect(applied(transposeIntoMatmul, { r: matmul(swapped(square), swapped(square), { transposeA, transposeB }) })).toEqual(
          ["matmul"],
        );
  });

  it("keeps a transpose that others read, and one of other axes", () => {
    const t = swapped(y);
    expect(applied(transposeIntoMatmul, { product: matmul(x, t), t }).sort()).toEqual(["matmul", "transpose"]);
    expect(applied(transposeIntoMatmul, { r: matmul(transpose(square, [2, 1, 0]), full([3, 2], 1)) })).toContain("transpose");
    expect(applied(transposeIntoMatmul, { r: matmul(transpose(square, [1, 0, 2]), square.slice(0, 0, 1)) })).toContain(
      "transpose",
    );
  });

  it("leaves no transpose in the gradients of a layer whose weight is [out, in]", () => {
    const weight = input("weight", "float32", [5, 4]);
    const [dx, dWeight] = grad(sum(sin(matmul(x, transpose(weight)))), [x, weight]) as [Tensor, Tensor];
    const graph: Graph = { inputs: new Map(Object.entries({ x, weight })), outputs: new Map(Object.entries({ dx, dWeight })) };
    expect(operatorsOf(graph).filter((name) => name === "transpose").length).toBeGreaterThan(1);
    expect(operatorsOf(transposeIntoMatmul(graph)).filter((name) => name === "transpose")).toHaveLength(1); // of the result itself
    expectSameValues(transposeIntoMatmul(graph), graph);
  });
});

describe("broadcasting in operators", () => {
  it("uses operands as they were before they were expanded", () => {
    expect(applied(broadcastInOperators, { r: add(x, broadcastTo(row, [rows, 4])) })).toEqual(["add"]);
    expect(applied(broadcastInOperators, { r: div(broadcastTo(one, [rows, 4]), x) })).toEqual(["div"]);
    expect(applied(broadcastInOperators, { r: where(equal(x, full([rows, 4], 0)), full([rows, 4], 1), y) })).toEqual([
      "equal",
      "where",
    ]);
  });

  it("keeps an expansion that gives the result its shape, or one of two that do", () => {
    expect(applied(broadcastInOperators, { r: mul(broadcastTo(row, [rows, 4]), row) })).toEqual(["expand", "mul"]);
    expect(applied(broadcastInOperators, { r: mul(broadcastTo(row, [rows, 4]), broadcastTo(one, [rows, 4])) })).toEqual([
      "expand",
      "mul",
    ]);
  });

  it("keeps an expansion that operators which do not broadcast read", () => {
    expect(applied(broadcastInOperators, { r: softmax(broadcastTo(row, [rows, 4])) })).toEqual(["expand", "softmax"]);
    const wide = broadcastTo(row, [rows, 4]);
    expect(applied(broadcastInOperators, { r: add(x, wide), wide })).toEqual(["expand", "add"]);
  });

  it("shortens the gradient of a mean", () => {
    const [dx] = grad(mean(exp(x)), [x]) as [Tensor];
    expect(operatorsOf(graphOf(inputs, { dx }))).toContain("expand");
    expect(applied(broadcastInOperators, { dx })).not.toContain("expand");
  });
});

describe("common subexpressions", () => {
  it("computes equal things once, whatever made them equal", () => {
    expect(applied(commonSubexpressions, { a: sin(add(x, y)), b: sin(add(x, y)) })).toEqual(["add", "sin"]);
    expect(applied(commonSubexpressions, { a: mul(x, 2), b: exp(mul(x, constant(2))) })).toEqual(["mul", "exp"]);
    expect(applied(commonSubexpressions, { a: sum(x, { axes: [0] }), b: sum(x, { axes: [0] }) })).toEqual(["sum"]);
    expect(applied(commonSubexpressions, { a: reshape(x, [4, rows]), b: reshape(x, [4, rows]) })).toEqual(["reshape"]);
  });

  it.each<[string, Tensor, Tensor]>([
    ["another order of operands", sub(x, y), sub(y, x)],
    ["other attributes", sum(x, { axes: [0] }), sum(x, { axes: [1] })],
    ["another size that is symbolic", reshape(x, [4, rows]), reshape(x, [rows, 4])],
    ["another value of a constant", mul(x, 2), mul(x, 3)],
    ["another dtype of a constant", mul(x, constant(1)), x.cast("int32").mul(constant(1, "int32")).cast("float32")],
    ["another shape of a constant", add(row, constant([1])), add(one, constant([[1]]))],
    ["another operator", sin(x), exp(x)],
  ])("keeps %s", (_, a, b) => {
    const before = graphOf(inputs, { a, b });
    const left = applied(commonSubexpressions, { a, b });
    expect(left).toEqual(operatorsOf(before));
  });

  it("tells 0 from −0", () => {
    const before = graphOf(inputs, { a: div(x, constant(0)), b: div(x, constant(-0)) });
    expect(operatorsOf(commonSubexpressions(before))).toEqual(["div", "div"]);
  });

  it("keeps noise of different names, and merges what is done with the same", () => {
    const noise = (name: string) => random.normal([rows, 4], name);
    const [a, b] = [noise("a"), noise("b")];
    const graph: Graph = {
      inputs: new Map(Object.entries({ x, a, b })),
      outputs: new Map(Object.entries({ p: mul(x, a), q: mul(x, b), r: mul(x, a) })),
    };
    expect(operatorsOf(commonSubexpressions(graph))).toEqual(["mul", "mul"]);
  });

  it("keeps two searches whose counts have names of their own", async () => {
    const flags = input("flags", "bool", [5]);
    const values = input("values", "float32", [5]);
    // What is found by one search has the size that this search has found.
    const found = () => gather(values, reshape(nonZero(flags), [-1]));
    const [a, b] = [found(), found()];
    const graph = graphOf({ flags, values }, { a: add(a, full(a.shape, 1)), b: mul(b, full(b.shape, 2)) });
    const given = { flags: fromNumbers("bool", [5], [0, 1, 1, 0, 1]), values: fromNumbers("float32", [5], [1, 2, 3, 4, 5]) };
    for (const engine of [referenceEngine(), await onnxRuntimeNode({ threads: 1 })]) {
      const results = await runOnce(engine, commonSubexpressions(graph), given);
      expect([...toNumbers(results.a as HostArray)]).toEqual([3, 4, 6]);
      expect([...toNumbers(results.b as HostArray)]).toEqual([4, 6, 10]);
    }
  });

  it("leaves loops alone, and merges what they read", () => {
    const loop = () => {
      const start = mul(row, 2);
      const { carry } = scan(([h], [element]) => ({ carry: [add(h, mul(element, row))] }), { carry: [start], sequences: [x] });
      return carry[0];
    };
    expect(applied(commonSubexpressions, { a: loop(), b: loop() })).toEqual(["mul", "scan", "scan"]);
  });

  it("does not merge what is recomputed behind a barrier with the original", () => {
    const loss = sum(checkpoint(() => exp(sin(x))));
    const graph = graphOf(inputs, { loss, dx: grad(loss, [x])[0] as Tensor });
    expect(operatorsOf(commonSubexpressions(graph)).filter((name) => name === "sin")).toHaveLength(2);
  });
});

describe("all passes", () => {
  it("leave out what nothing needs, and keep inputs", () => {
    exp(mul(x, y));
    const graph = optimize(graphOf(inputs, { r: mul(x, 1) }));
    expect(operatorsOf(graph)).toEqual([]);
    expect([...graph.inputs.keys()]).toEqual(Object.keys(inputs));
  });

  it("keep the values of random graphs and of their gradients", () => {
    type Step = readonly [kind: number, a: number, b: number];
    const build = (steps: readonly Step[]): Tensor[] => {
      const made: Tensor[] = [x, y, mul(x, 1), broadcastTo(row, [rows, 4])];
      const pick = (i: number) => made[i % made.length] as Tensor;
      const wide = (shape: Tensor) => broadcastTo(one, shape.shape);
      const makers: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
        add,
        sub,
        mul,
        (a, b) => matmul(matmul(a, transpose(b)), b),
        (a, b) => matmul(transpose(matmul(b, transpose(a))), b),
        (a) => add(a, 0),
        (a) => mul(1, a),
        (a) => sin(a),
        (a, b) => maximum(a, wide(b)),
        (a, b) => where(equal(a, b), wide(a), b),
        (a) => mul(a, broadcastTo(mean(a, { axes: [1], keepDims: true }), a.shape)),
        (a) => softmax(a),
      ];
      for (const [kind, a, b] of steps) made.push((makers[kind % makers.length] as (typeof makers)[0])(pick(a), pick(b)));
      return made.slice(-2);
    };
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 10 }), (steps) => {
        const [a, b] = build(steps) as [Tensor, Tensor];
        const loss = mean(sin(add(a, b)));
        const [dx, drow] = grad(loss, [x, row]) as [Tensor, Tensor];
        const before = graphOf(inputs, { a, b, dx, drow });
        const optimized = optimize(before);
        expect(operatorsOf(optimized).length).toBeLessThanOrEqual(operatorsOf(before).length);
        for (const [i, values] of valuesOf(optimized).entries()) {
          const expected = toNumbers(valuesOf(before)[i] as HostArray);
          const scale = Math.max(1, ...expected.map(Math.abs));
          if (!Number.isFinite(scale)) continue;
          for (const [k, value] of toNumbers(values).entries())
            expect(Math.abs(value - (expected[k] as number)) / scale).toBeLessThan(1e-9);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("are those that programs go through", () => {
    expect(standardPasses).toEqual([simplify, transposeIntoMatmul, broadcastInOperators, commonSubexpressions]);
  });
});
