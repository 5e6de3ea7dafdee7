import { describe, expect, it } from "vitest";
import { evaluate } from "../../engine/reference/interpret.js";
import { ShapeError } from "../../errors.js";
import { symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { type HostArray, toNumbers } from "../host-array.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { gradientProblems } from "../testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "../testing/values.js";
import { mul } from "./arithmetic.js";
import { zeros } from "./fill.js";
import { all, any, max, mean, min, numberOfElements, prod, sum, variance } from "./reduce.js";
import { logSumExp } from "./softmax.js";
import { argMax, argMin, topK } from "./topk.js";

const rows = [
  [1, -2, 4],
  [3, 3, 0],
];
const matrix = (): Tensor => input("x", "float64", [2, 3]);

describe("axes", () => {
  it("count from the end too, come in any order, and are all of them by default", () => {
    const x = input("x", "float32", [2, symbol("n"), 4]);
    expect(sum(x, { axes: [-1, 0] }).shape).toEqual([x.size(1)]);
    expect(sum(x, { axes: [-1, 0], keepDims: true }).shape).toEqual([1, x.size(1), 1]);
    expect(sum(x).shape).toEqual([]);
    expect(sum(x, { axes: [] }).shape).toEqual(x.shape);
    expect(() => sum(x, { axes: [3] })).toThrow(ShapeError);
  });
});

describe("extremes", () => {
  it("share the gradient among equal elements", () => {
    const x = matrix();
    const gradients = [max, min].flatMap((extreme) => grad(sum(extreme(x, { axes: [1] })), [x]));
    expect(numbersOf(gradients, { x: rows })).toEqual([
      [0, 0, 1, 0.5, 0.5, 0],
      [0, 1, 0, 0, 0, 1],
    ]);
  });

  it("are found at the first of equal places", () => {
    const x = matrix();
    expect(numbersOf([argMax(x), argMin(x, 0), topK(x, 2).indices], { x: rows })).toEqual([
      [2, 0],
      [0, 0, 1],
      [2, 0, 0, 1],
    ]);
    expect(() => topK(x, 4)).toThrow(ShapeError);
  });
});

describe("prod", () => {
  it.each([[[2, 3, 4]], [[2, 0, 4]], [[0, 0, 4]]])("has the gradient of %j", (values) => {
    const graph = graphOf([prod(input("x", "float64", [3]))]);
    expect(gradientProblems(graph, inputsOf(graph, { x: values }), ["x"])).toEqual([]);
  });
});

describe("variance", () => {
  it("is divided by n", () => {
    const x = matrix();
    const [byRow, whole] = numbersOf([variance(x, { axes: [1] }), variance(x)], { x: rows });
    expect(byRow).toEqual([6, 2]);
    expect(whole?.[0]).toBeCloseTo(39 / 6 - 1.5 ** 2, 12);
  });

  it("has the right gradient for symbolic sizes", () => {
    const graph = graphOf([variance(input("x", "float64", [symbol("a"), symbol("b")]), { axes: [0] })]);
    expect(gradientProblems(graph, inputsOf(graph, { x: rows }), ["x"])).toEqual([]);
  });
});

describe("any and all", () => {
  it("have values where there is nothing", () => {
    const nothing = constant({ dtype: "bool", shape: [0], data: new Uint8Array(0) });
    expect(numbersOf([any(nothing), all(nothing)])).toEqual([[0], [1]]);
  });

  it("count every number but 0 as true", () => {
    const x = constant([
      [0, 0],
      [0, 0.5],
      [2, -1],
    ]);
    expect(numbersOf([any(x, { axes: [1] }), all(x, { axes: [1] })])).toEqual([
      [0, 1, 1],
      [0, 0, 1],
    ]);
  });
});

describe("means of narrow floats", () => {
  it.each(["float16", "bfloat16"] as const)("divide gradients by numbers of elements beyond %s", (dtype) => {
    const x = zeros([70_000], dtype);
    const graph = graphOf(grad(mul(sum(mean(x)), 2 ** 10), [x]));
    const values = toNumbers(evaluate(graph, new Map()).get("0") as HostArray);
    expect((values[0] as number) / (2 ** 10 / 70_000)).toBeCloseTo(1, 2);
  });
});

describe("means of symbolic shapes", () => {
  it("divide the gradient by the size that the run has", () => {
    const x = input("x", "float64", [symbol("a"), symbol("b")]);
    const [average, gradient, count] = numbersOf([mean(x), ...grad(mean(x), [x]), numberOfElements(x.shape, "float32")], {
      x: rows,
    });
    expect(average).toEqual([1.5]);
    expect(gradient).toEqual(new Array(6).fill(1 / 6));
    expect(count).toEqual([6]);
  });
});

describe("logSumExp", () => {
  it("neither overflows nor turns −∞ into NaN", () => {
    const x = matrix();
    const far = [
      [1000, 1000, -1000],
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ];
    expect(numbersOf([logSumExp(x, { axes: [1] })], { x: far })).toEqual([[1000 + Math.LN2, Number.NEGATIVE_INFINITY]]);
  });
});
