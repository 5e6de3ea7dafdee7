import { describe, expect, it } from "vitest";
import { DTypeError, ShapeError } from "../../errors.js";
import { mulDims, symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { nodesOf } from "../graph.js";
import { constant, input } from "../leaves.js";
import { numbersOf } from "../testing/values.js";
import { matmul } from "./matmul.js";
import { sum } from "./reduce.js";

describe("matmul", () => {
  it("takes vectors as rows and columns", () => {
    const m = constant([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const [left, right] = [constant([1, 0, 2]), constant([10, 1])];
    expect(numbersOf([matmul(left, m), matmul(m, right), matmul(right, right)])).toEqual([[11, 14], [12, 34, 56], [101]]);
    expect([matmul(left, m).shape, matmul(m, right).shape, matmul(right, right).shape]).toEqual([[2], [3], []]);
    expect(() => matmul(left, m, { transposeA: true })).toThrow(ShapeError);
  });

  it("makes the gradient of a weight as one product", () => {
    const [batch, seq] = [symbol("batch"), symbol("seq")];
    const x = input("x", "float32", [batch, seq, 8]);
    for (const [weight, options] of [
      [input("w", "float32", [8, 5]), {}],
      [input("w", "float32", [5, 8]), { transposeB: true }],
    ] as const) {
      const [gradient] = grad(sum(matmul(x, weight, options)), [weight]);
      const products = nodesOf(gradient ? [gradient] : []).filter(({ op }) => op.name === "matmul");
      expect(products.map(({ inputs }) => inputs.map(({ shape }) => shape[0]))).toEqual([
        [mulDims(batch, seq), mulDims(batch, seq)],
      ]);
      expect(gradient?.shape).toEqual(weight.shape);
    }
  });

  it("names what does not fit", () => {
    const x = input("x", "float32", [2, 3, 4]);
    expect(() => matmul(x, input("w", "float32", [5, 6]))).toThrow(/matmul: the inner sizes 4 and 5 differ/);
    expect(() => matmul(x, input("w", "float32", [3, 4, 6]))).toThrow(ShapeError);
    expect(() => matmul(x, input("w", "float32", []))).toThrow(ShapeError);
    expect(() => matmul(x, input("w", "int32", [4, 6]))).toThrow(DTypeError);
  });
});
