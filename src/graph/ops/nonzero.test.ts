import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { optimize } from "../../onnx/passes/index.js";
import { checkpoint } from "../checkpoint.js";
import { asAtom, type Dim, mulDims, sameDim, symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { type Graph, rewriteGraph } from "../graph.js";
import { fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import { constant, input } from "../leaves.js";
import { scan } from "../scan.js";
import type { Tensor } from "../tensor.js";
import { loaderFor } from "../testing/compare.js";
import { graphOf, numbersOf } from "../testing/values.js";
import { add, mul, square } from "./arithmetic.js";
import { greater } from "./compare.js";
import { full, ones } from "./fill.js";
import { gather } from "./indexing.js";
import { nonZero } from "./nonzero.js";
import { range } from "./range.js";
import { sum } from "./reduce.js";
import { reshape, squeeze } from "./shape.js";

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

  describe("makes a size that is an edge of the graph", () => {
    const size = symbol("size");
    const values = input("x", "float32", [size]);
    const countOf = (chosen: Tensor): Dim => nonZero(chosen).shape[1] as Dim;
    const run = async (graph: Graph, x: readonly number[]): Promise<readonly number[][]> => {
      const engine = await onnxRuntimeNode({ threads: 1 });
      const model = await loaderFor(engine)(graph);
      try {
        const results = await model.run(new Map([["x", fromNumbers("float32", [x.length], x)]]));
        const expected = evaluate(optimize(graph), new Map([["x", fromNumbers("float32", [x.length], x)]]));
        for (const [name, value] of results) expect(value).toEqual(expected.get(name));
        return [...graph.outputs.keys()].map((name) => Array.from(toNumbers(results.get(name) as HostArray)));
      } finally {
        await model.release();
        await engine.close();
      }
    };

    it("whatever passes make of the node that finds it out", async () => {
      const count = countOf(greater(mul(values, 1), 0));
      const graph = graphOf([
        full([count], 7),
        add(range(count, "float32"), 1),
        reshape(full([count, 2], 1), [mulDims(count, 2)]),
      ]);
      expect(await run(graph, [3, -1, 2, 0])).toEqual([
        [7, 7],
        [1, 2],
        [1, 1, 1, 1],
      ]);
      expect(await run(graph, [-3])).toEqual([[], [], []]);
    });

    it("in the body of a loop, around it, and in its gradient", async () => {
      const places = squeeze(nonZero(greater(mul(values, 1), 0)), 0);
      const count = places.shape[0] as Dim;
      const chosen = gather(values, places);
      const { carry, outputs } = scan(
        ([state], [element]) => {
          const next = mul(add(state, full([count], 2)), element);
          return { carry: [next], outputs: [sum(mul(next, full([count], 3)))] };
        },
        { carry: [full([count], 1)], sequences: [chosen] },
      );
      const loss = add(sum(carry[0]), sum(outputs[0]));
      const graph = graphOf([loss, grad(loss, [values])[0] as Tensor]);
      // h₁ = 3a, h₂ = (3a + 2)·b, each twice: the loss is 2·h₂ + 6·(h₁ + h₂).
      const [a, b] = [2, 3];
      expect(await run(graph, [a, -5, b])).toEqual([[8 * (3 * a + 2) * b + 18 * a], [24 * b + 18, 0, 8 * (3 * a + 2)]]);
    });

    it("that a loop finds out anew in each step", async () => {
      const rows = reshape(values, [size, 1]);
      const wide = mul(rows, constant([1, -1, 2]));
      const { outputs } = scan(
        (_, [row]) => {
          const found = greater(mul(row, 1), 0);
          return { carry: [], outputs: [sum(mul(full([countOf(found)], 1), sum(mul(row, row))))] };
        },
        { carry: [], sequences: [wide] },
      );
      const loss = sum(outputs[0]);
      // The squares of a row add up to 6·x², times the number of its positive elements: 2 for x > 0, 1 for x < 0.
      expect(await run(graphOf([loss, grad(loss, [values])[0] as Tensor]), [1, -2])).toEqual([[12 + 24], [24, -24]]);
    });

    it("and is computed again where a checkpoint does so", async () => {
      const y = checkpoint(() => {
        const doubled = mul(values, 2);
        return sum(mul(full([countOf(greater(doubled, 0))], 1), sum(square(doubled))));
      });
      expect(await run(graphOf([y, grad(y, [values])[0] as Tensor]), [1, -2, 3])).toEqual([[2 * 4 * 14], [16, -32, 48]]);
    });
  });
});
