import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { symbol } from "../dim.js";
import { fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { difference, loaderFor } from "../testing/compare.js";
import { graphOf, numbersOf } from "../testing/values.js";
import { bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor, shiftLeft, shiftRight } from "./bits.js";
import { isInf } from "./compare.js";
import { cumulativeMax, cumulativeProduct } from "./cumulative.js";
import { expm1, log1p } from "./elementary.js";
import { diagonal, roll } from "./roll.js";
import { argsort } from "./sort.js";

const engine = await onnxRuntimeNode({ threads: 1 });

async function run(tensors: readonly Tensor[], feeds: Readonly<Record<string, HostArray>>): Promise<readonly HostArray[]> {
  const graph = graphOf(tensors);
  const model = await loaderFor(engine)(graph);
  const results = await model.run(new Map(Object.entries(feeds)));
  await model.release();
  return [...graph.outputs.keys()].map((name) => results.get(name) as HostArray);
}

describe("log1p and expm1", () => {
  it.each([
    ["float32", 3e-7],
    ["float64", 1e-15],
  ] as const)("keep the digits of small %s numbers", async (dtype, tolerance) => {
    const values = [1e-20, -1e-9, 1e-7, -1e-4, 0.01, -0.3, 0.49, 0.51, -0.6, 3, 40];
    const x = input("x", dtype, [values.length]);
    const given = fromNumbers(dtype, [values.length], values);
    const [logs, powers] = await run([log1p(x), expm1(x)], { x: given });
    for (const [i, value] of toNumbers(given).entries()) {
      expect(Math.abs((toNumbers(logs as HostArray)[i] as number) / Math.log1p(value) - 1)).toBeLessThan(tolerance);
      expect(Math.abs((toNumbers(powers as HostArray)[i] as number) / Math.expm1(value) - 1)).toBeLessThan(10 * tolerance);
    }
  });
});

describe("bits", () => {
  it.each(["int64", "int32", "uint8"] as const)("of %s are those that JavaScript sees", async (dtype) => {
    const [a, b] =
      dtype === "uint8"
        ? [
            [12, 255, 0, 129],
            [10, 1, 7, 128],
          ]
        : [
            [12, -1, 0, -129],
            [10, 1, -7, 128],
          ];
    const [x, y] = [input("x", dtype, [4]), input("y", dtype, [4])];
    const results = await run([bitwiseAnd(x, y), bitwiseOr(x, y), bitwiseXor(x, 5), bitwiseNot(x)], {
      x: fromNumbers(dtype, [4], a),
      y: fromNumbers(dtype, [4], b),
    });
    const expected = [
      a.map((value, i) => value & (b[i] as number)),
      a.map((value, i) => value | (b[i] as number)),
      a.map((value) => value ^ 5),
      a.map((value) => (dtype === "uint8" ? 255 - value : ~value)),
    ];
    expect(results.map((result) => Array.from(toNumbers(result)))).toEqual(expected);
  });

  it("move left and right, with the sign of what is negative", async () => {
    const values = [-9, -8, -1, 0, 1, 7, 1000];
    const x = input("x", "int32", [values.length]);
    const given = { x: fromNumbers("int32", [values.length], values) };
    const results = (await run([shiftLeft(x, 3), shiftRight(x, 2), shiftRight(x, 0)], given)).map((r) =>
      Array.from(toNumbers(r)),
    );
    expect(results).toEqual([values.map((v) => v << 3), values.map((v) => v >> 2), values]);
    expect(() => shiftLeft(x, -1)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => shiftLeft(x, 40)).toThrow(expect.objectContaining({ code: "DTYPE" }));
    expect(() => bitwiseAnd(constant(1), 1)).toThrow(/takes integers/);
  });
});

it("isInf tells infinities from everything else", () => {
  const values = constant([1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -3]);
  expect(numbersOf([isInf(values)])).toEqual([[0, 1, 1, 0, 0]]);
});

describe("with symbolic sizes", () => {
  const x = input("x", "float32", [symbol("rows"), symbol("columns")]);
  const square = input("x", "float32", [symbol("n"), 3]);

  it.each([
    [2, 3],
    [1, 1],
    [0, 2],
    [5, 4],
  ])("the same as with sizes that are numbers: [%i, %i]", async (rows, columns) => {
    const values = Array.from({ length: rows * columns }, (_, i) => Math.sin(3 * i + 1));
    const given = { x: fromNumbers("float32", [rows, columns], values) };
    const make = (x: Tensor) => [
      roll(x, 3, 0),
      roll(x, -7, 1),
      cumulativeMax(x, 0),
      cumulativeMax(x, 1, { reverse: true }),
      cumulativeProduct(x, 0, { reverse: true }),
    ];
    const expected = await run(make(input("x", "float32", [rows, columns])), given);
    for (const [i, array] of (await run(make(x), given)).entries())
      expect(difference(array, expected[i] as HostArray, 1e-6)).toBeUndefined();
  });

  it("a diagonal needs to know which side is shorter", async () => {
    expect(() => diagonal(x)).toThrow(/cannot be told how long/);
    const n = symbol("n");
    const [lower] = await run([diagonal(input("x", "float32", [n, n]), { offset: -1 })], {
      x: fromNumbers("float32", [3, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    });
    expect(Array.from(toNumbers(lower as HostArray))).toEqual([3, 7]);
    expect(() => diagonal(square)).toThrow(/cannot be told/);
  });

  it("an order of all elements", async () => {
    const [order] = await run([argsort(x, 1, { descending: true })], { x: fromNumbers("float32", [2, 3], [1, 3, 2, 5, 5, 7]) });
    expect(Array.from(toNumbers(order as HostArray))).toEqual([1, 2, 0, 2, 0, 1]);
  });
});
