import { describe, expect, it } from "vitest";
import { asAtom, type Dim, sameDim } from "../dim.js";
import { grad } from "../gradient.js";
import { rewriteGraph } from "../graph.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { graphOf, numbersOf } from "../testing/values.js";
import { add, mul } from "./arithmetic.js";
import { ones } from "./fill.js";
import { gather } from "./indexing.js";
import { nonZero } from "./nonzero.js";
import { sum } from "./reduce.js";
import { squeeze } from "./shape.js";

const mask = input("mask", "bool", [4]);
const x = input("x", "float32", [4]);
const feeds = { mask: [1, 0, 1, 1], x: [1, 2, 3, 4] };

describe("nonZero", () => {
  it("finds indices in row-major order", () => {
    const matrix = constant([
      [0, 5, 0],
      [7, 0, -1],
    ]);
    expect(numbersOf([nonZero(matrix)])[0]).toEqual([0, 1, 1, 1, 0, 2]);
    expect(() => nonZero(constant(1))).toThrow(/a scalar has no indices/);
  });

  it("makes a size of its own that other shapes are computed from", () => {
    const places = nonZero(mask);
    const count = places.shape[1] as Dim;
    expect(asAtom(count)?.name).toBe("count");
    expect(sameDim(count, nonZero(mask).shape[1] as Dim)).toBe(false);
    const chosen = add(gather(x, squeeze(places, 0)), ones([count]));
    expect(numbersOf([chosen], feeds)[0]).toEqual([2, 4, 5]);
  });

  it("lets gradients through what it chose", () => {
    const chosen = gather(x, squeeze(nonZero(mask), 0));
    const [gradient] = grad(sum(mul(chosen, chosen)), [x]);
    expect(numbersOf([gradient as Tensor], feeds)[0]).toEqual([2, 0, 6, 8]);
  });

  it("keeps its size in a copy of the graph", () => {
    const y = gather(x, squeeze(nonZero(mask), 0));
    const other = input("mask", "bool", [4]);
    const copy = rewriteGraph(graphOf([y]), (node) => (node === mask.node ? other.node.outputs : undefined)).outputs.get(
      "0",
    ) as Tensor;
    expect(copy).not.toBe(y);
    expect(sameDim(copy.shape[0] as Dim, y.shape[0] as Dim)).toBe(true);
    expect(numbersOf([copy], { ...feeds, mask: [0, 0, 0, 0] })[0]).toEqual([]);
  });
});
