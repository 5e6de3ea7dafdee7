import { describe, expect, it } from "vitest";
import { copyNodes, countUses, nodesOf, rewriteGraph } from "./graph.js";
import { constant, input } from "./leaves.js";
import { add, mul, neg, sin, split } from "./ops/index.js";
import type { Tensor } from "./tensor.js";
import { numbersOf } from "./testing/values.js";

const x = input("x", "float32", [4]);
const names = (tensors: readonly Tensor[]) => nodesOf(tensors).map(({ op }) => op.name);

describe("nodesOf", () => {
  it("finds what a value needs, inputs before users, each once", () => {
    const y = sin(x);
    neg(y);
    expect(names([add(y, mul(y, x))])).toEqual(["input", "sin", "mul", "add"]);
    expect(names([])).toEqual([]);
  });

  it("does not look behind where it is told to stop", () => {
    const y = sin(neg(x));
    const found = nodesOf([add(y, 1)], (node) => node === y.node);
    expect(found.map(({ op }) => op.name)).toEqual(["sin", "constant", "add"]);
  });

  it("is not stopped by a deep graph", () => {
    let deep: Tensor = x;
    for (let i = 0; i < 50_000; i++) deep = neg(deep);
    expect(nodesOf([deep]).length).toBe(50_001);
  });
});

it("countUses counts every operand and every result", () => {
  const y = sin(x);
  const z = mul(y, y);
  const uses = countUses(nodesOf([z]), [z, y]);
  expect([x, y, z].map((tensor) => uses.get(tensor))).toEqual([1, 3, 1]);
});

describe("rewriteGraph", () => {
  const graphOf = (output: Tensor) => ({ inputs: new Map([["x", x]]), outputs: new Map([["y", output]]) });

  it("gives back the same values when nothing is replaced", () => {
    const y = add(sin(x), 1);
    expect(rewriteGraph(graphOf(y), () => undefined).outputs.get("y")).toBe(y);
  });

  it("rebuilds only what stands on something replaced, and leaves the original alone", () => {
    const before = neg(x);
    const y = mul(add(sin(before), before), 2);
    const rewritten = rewriteGraph(graphOf(y), (node, [operand]) => (node.op.name === "sin" ? [operand as Tensor] : undefined));
    const result = rewritten.outputs.get("y") as Tensor;
    expect(names([result])).toEqual(["input", "neg", "constant", "add", "mul"]);
    expect(nodesOf([result])).toContain(before.node);
    expect(numbersOf([result, y], { x: [1, 2, 3, 4] })[0]).toEqual([-4, -8, -12, -16]);
    expect(names([y])).toContain("sin");
  });

  it("replaces nodes of several outputs", () => {
    const [first, second] = split(x, 2, 0);
    const y = add(first as Tensor, second as Tensor);
    const swapped = rewriteGraph(graphOf(y), (node) =>
      node.op.name === "split" ? [second as Tensor, first as Tensor] : undefined,
    );
    const result = swapped.outputs.get("y") as Tensor;
    expect(result.node.inputs).toEqual([second, first]);
  });
});

it("copyNodes copies what stands on a replaced value, with scope and attributes", () => {
  const y = sin(neg(x));
  const other = constant([1, 2, 3, 4]);
  const replacement = new Map([[x, other]]);
  copyNodes(nodesOf([y]), replacement);
  const copy = replacement.get(y) as Tensor;
  expect(names([copy])).toEqual(["constant", "neg", "sin"]);
  expect(copy.shape).toEqual(y.shape);
  expect(numbersOf([copy])[0]?.[1]).toBeCloseTo(Math.sin(-2), 12);
});
