import { describe, expect, it } from "vitest";
import "../../graph/index.js";
import { symbol } from "../../graph/dim.js";
import { grad } from "../../graph/gradient.js";
import { type Graph, nodesOf } from "../../graph/graph.js";
import { fromNumbers, type HostArray, toNumbers } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import { matmul, sin, sum } from "../../graph/ops/index.js";
import type { Tensor } from "../../graph/tensor.js";
import { optimize } from "../../onnx/passes/index.js";
import { evaluate } from "../reference/interpret.js";
import { graphOf } from "../testing/graphs.js";
import { flatProducts } from "./flat-products.js";

const ranks = (graph: Graph): readonly number[] =>
  nodesOf(graph.outputs.values()).flatMap(({ op, outputs }) => (op.name === "matmul" ? [(outputs[0] as Tensor).rank] : []));

const reshapes = (graph: Graph): number => nodesOf(graph.outputs.values()).filter(({ op }) => op.name === "reshape").length;

const values = (name: string, shape: readonly number[]): [string, HostArray] => [
  name,
  fromNumbers(
    "float32",
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i + 1)),
  ),
];

describe("products of a batch with one matrix", () => {
  const x = input("x", "float32", [2, 3, 8]);
  const w = input("w", "float32", [4, 8]);
  const v = input("v", "float32", [5, 8]);
  const y = sin(matmul(x, w, { transposeB: true, scale: 2 }));
  const z = matmul(x, v, { transposeB: true });
  const [dx, dw, dv] = grad(sum(y).add(sum(sin(z))), [x, w, v]) as [Tensor, Tensor, Tensor];
  const graph = optimize(graphOf({ x, w, v }, { y, z, dx, dw, dv }));

  it("become products of matrices, to the same results", () => {
    const flat = flatProducts(graph);
    expect(ranks(graph)).toContain(3);
    expect(new Set(ranks(flat))).toEqual(new Set([2]));
    const feeds = new Map([values("x", [2, 3, 8]), values("w", [4, 8]), values("v", [5, 8])]);
    const expected = evaluate(graph, feeds);
    for (const [name, result] of evaluate(flat, feeds)) {
      expect(result.shape).toEqual(expected.get(name)?.shape);
      expect(toNumbers(result)).toEqual(toNumbers(expected.get(name) as HostArray));
    }
  });

  it("share the rows that they read with each other and with the gradients of weights", () => {
    const flat = flatProducts(graph);
    const rows = nodesOf(flat.outputs.values()).filter(({ op, inputs }) => op.name === "reshape" && inputs[0] === x);
    expect(rows).toHaveLength(1);
    expect(reshapes(flat)).toBeGreaterThan(1);
  });

  it("stay as they are where the rows are wide, the batch is on the right, or sizes are unknown", () => {
    expect(ranks(flatProducts(graph, 24))).toEqual(ranks(graph));
    const batch = input("batch", "float32", [2, 8, 3]);
    const right = graphOf({ w, batch }, { y: matmul(w, batch) });
    expect(ranks(flatProducts(right))).toEqual([3]);
    const turned = graphOf({ w, batch }, { y: matmul(batch, w, { transposeA: true, transposeB: true }) });
    expect(ranks(flatProducts(turned))).toEqual([3]);
    const free = input("free", "float32", [symbol("rows"), 3, 8]);
    expect(ranks(flatProducts(graphOf({ free, v }, { y: matmul(free, v, { transposeB: true }) })))).toEqual([3]);
  });
});
