import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { ArgumentError, ShapeError } from "../../errors.js";
import { symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { nodesOf } from "../graph.js";
import { fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { difference, loaderFor } from "../testing/compare.js";
import { graphOf, numbersOf } from "../testing/values.js";
import { mul, sqrt, square } from "./arithmetic.js";
import { groupNorm, layerNorm, rmsNorm } from "./norm.js";
import { sum, variance } from "./reduce.js";
import { rope } from "./rope.js";

describe("normalization", () => {
  it("of layers may have a bias and no weight", () => {
    const x = constant([[1, 3]]);
    expect(numbersOf([layerNorm(x, undefined, constant([10, 20]), { epsilon: 0 })])).toEqual([[9, 21]]);
  });

  it("of float16 holds squares that float16 does not", async () => {
    const values = [1000, -2000, 3000, 500];
    const x = input("x", "float16", [1, 4]);
    const graph = graphOf([
      rmsNorm(x),
      rmsNorm(x, constant([1, 1, 1, 2], "float16")),
      ...grad(sum(mul(rmsNorm(x), constant([1, 2, 3, 4], "float16"))), [x]),
      sqrt(mul(variance(mul(x, 0.125)), 0.5)),
    ]);
    const engine = await onnxRuntimeNode({ threads: 1 });
    const model = await loaderFor(engine)(graph);
    const given = new Map([["x", fromNumbers("float16", [1, 4], values)]]);
    const results = await model.run(given);
    await engine.close();
    for (const [name, expected] of evaluate(graph, given))
      expect(difference(results.get(name) as HostArray, expected, 2e-3)).toBeUndefined();
    const root = Math.sqrt(values.reduce((total, value) => total + value ** 2, 0) / 4);
    expect(toNumbers(results.get("0") as HostArray)[0]).toBeCloseTo(1000 / root, 3);
  });

  it("asks for the factor of a row only in gradients of gradients", () => {
    const x = input("x", "float32", [symbol("batch"), 4]);
    const weight = input("weight", "float32", [4]);
    const [dx] = grad(sum(square(layerNorm(x, weight))), [x]);
    // dFactor is a known zero, so nothing divides by the size of a row.
    expect(nodesOf([dx as Tensor]).map(({ op }) => op.name)).not.toContain("div");
    expect(grad(sum(square(dx as Tensor)), [x])[0]?.shape).toEqual(x.shape);
  });

  it("refuses parameters and groups that do not fit", () => {
    const x = input("x", "float32", [2, 6, 5]);
    expect(() => layerNorm(x, input("w", "float32", [6]))).toThrow(ShapeError);
    expect(() => rmsNorm(x, input("w", "float32", [1, 5]))).toThrow(ShapeError);
    expect(() => rmsNorm(constant(1))).toThrow(ShapeError);
    expect(() => groupNorm(x, 4)).toThrow(ArgumentError);
    expect(() => groupNorm(x, 0)).toThrow(ArgumentError);
  });
});

describe("rope", () => {
  it("is undone by the opposite angle and keeps the length of each pair", () => {
    const x = constant([[1, 2, 3, 4]]);
    const [cos, sin] = [constant([[Math.cos(0.3), Math.cos(2)]]), constant([[Math.sin(0.3), Math.sin(2)]])];
    for (const interleaved of [false, true]) {
      const turned = rope(x, cos, sin, { interleaved });
      const back = rope(turned, cos, mul(sin, -1), { interleaved });
      const [there, again] = numbersOf([sum(square(turned)), back]);
      expect(there?.[0]).toBeCloseTo(30, 5);
      for (const [i, value] of (again ?? []).entries()) expect(value).toBeCloseTo(i + 1, 5);
    }
  });

  it("pairs halves, or neighbours when interleaved", () => {
    const x = constant([[1, 2, 3, 4]]);
    const [zero, one] = [constant([[0, 0]]), constant([[1, 1]])]; // a quarter turn: (a, b) → (−b, a)
    expect(numbersOf([rope(x, zero, one), rope(x, zero, one, { interleaved: true })])).toEqual([
      [-3, -4, 1, 2],
      [-2, 1, -4, 3],
    ]);
  });

  it("refuses odd heads and angles that do not fit", () => {
    const angles = input("angles", "float32", [3, 2]);
    expect(() => rope(input("x", "float32", [2, 3, 5]), angles, angles)).toThrow(ShapeError);
    expect(() => rope(input("x", "float32", [2, 4, 4]), angles, angles)).toThrow(ShapeError);
    expect(() => rope(input("x", "float32", [4]), angles, angles)).toThrow(ShapeError); // more angles than positions
  });
});
