import { describe, expect, it } from "vitest";
import { evaluate } from "../../engine/reference/interpret.js";
import { ArgumentError, DTypeError, ShapeError } from "../../errors.js";
import { symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { nodesOf } from "../graph.js";
import { type HostArray, toNumbers } from "../host-array.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { gradientProblems } from "../testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "../testing/values.js";
import { elu, leakyRelu, quickGelu } from "./activation.js";
import { add, erf, maximum, minimum, mod, mul, pow, round } from "./arithmetic.js";
import { cast } from "./cast.js";
import { and, equal, greater, isFinite as isFiniteTensor, isNaN as isNaNTensor } from "./compare.js";
import { sum } from "./reduce.js";
import { clamp, where } from "./select.js";

const exact = (values: readonly number[]): Tensor =>
  constant({ dtype: "float64", shape: [values.length], data: Float64Array.from(values) });
const numbers = (tensor: Tensor): readonly number[] => numbersOf([tensor])[0] as readonly number[];

/** What finite differences of a function of one vector say about its gradient. */
function problemsAt(values: readonly number[], fn: (x: Tensor) => Tensor): readonly string[] {
  const graph = graphOf([fn(input("x", "float64", [values.length]))]);
  return gradientProblems(graph, inputsOf(graph, { x: values }), ["x"]);
}

describe("two operands", () => {
  it("broadcast, and a symbol only with itself and with 1", () => {
    const [batch, seq] = [symbol("batch"), symbol("seq")];
    const x = input("x", "float32", [batch, 1, 3]);
    expect(add(x, input("y", "float32", [seq, 1])).shape).toEqual([batch, seq, 3]);
    expect(() => add(x, input("y", "float32", [seq, 1, 3]))).toThrow(ShapeError);
    expect(() => add(x, input("y", "float32", [2, 4]))).toThrow(/add: shapes .* do not broadcast/);
  });

  it("have one dtype; a number takes that of the tensor", () => {
    expect(add(2, input("x", "float16", [3])).dtype).toBe("float16");
    expect(() => add(input("x", "float32", [3]), input("y", "int32", [3]))).toThrow(DTypeError);
    expect(() => and(input("x", "float32", [3]), input("y", "float32", [3]))).toThrow(DTypeError);
  });
});

describe("numbers", () => {
  it.each(["int64", "int32", "uint8"] as const)("that %s cannot hold are refused, and not cut", (dtype) => {
    const x = input("x", dtype, [2]);
    expect(() => mul(x, 0.5)).toThrow(/\(0.5\) cannot be stored as .*int.*cast the tensor to a float/);
    for (const value of [1e19, -1e19, Number.NaN, Number.POSITIVE_INFINITY]) expect(() => add(x, value)).toThrow(DTypeError);
    expect(() => where(greater(x, 0), x, 0.5)).toThrow(DTypeError);
    expect(() => clamp(x, { min: 0.5 })).toThrow(DTypeError);
    expect(mul(x, 2).dtype).toBe(dtype);
  });

  it("that a float would make infinite or 0 are refused; infinity itself is not", () => {
    const half = input("x", "float16", [2]);
    expect(() => mul(half, 1e6)).toThrow(/\(1000000\) cannot be stored as float16: it is too large/);
    expect(() => mul(half, 1e-9)).toThrow(/\(1e-9\) would become 0 as float16/);
    expect(() => constant([1, 1e39])).toThrow(DTypeError);
    expect(add(half, Number.NEGATIVE_INFINITY).dtype).toBe("float16");
    expect(mul(half, 0).dtype).toBe("float16");
  });
});

describe("pow", () => {
  it.each(["float16", "bfloat16"] as const)("has the gradient of its exponent, not of the exponent's bits: %s", (dtype) => {
    const x = constant([1, 4], dtype);
    const value = (tensor: Tensor) => Array.from(toNumbers(evaluate(graphOf([tensor]), new Map()).get("0") as HostArray));
    expect(value(grad(sum(pow(x, 1.5)), [x])[0] as Tensor)).toEqual([1.5, 3]);
    expect(value(grad(sum(pow(x, constant(2.5, dtype))), [x])[0] as Tensor)).toEqual([2.5, 20]);
  });

  it.each([-2, -1, -0.5, 0.5, 1, 2, 3, 2.5])("raises to the constant %d", (exponent) => {
    const bases = [0.3, 1, 2.5];
    for (const [i, value] of numbers(pow(exact(bases), exponent)).entries())
      expect(value).toBeCloseTo((bases[i] as number) ** exponent, 12);
    expect(problemsAt(bases, (x) => pow(x, exponent))).toEqual([]);
  });

  it("is 1 for the exponent 0", () => {
    expect(numbers(pow(exact([0, 2]), 0))).toEqual([1, 1]);
  });

  it("computes small powers without Pow", () => {
    const x = input("x", "float32", [2]);
    const names = [2, 3, 0.5, -1].map((exponent) => nodesOf([pow(x, exponent)]).map(({ op }) => op.name));
    expect(names.flat()).not.toContain("pow");
  });

  it("has gradients where the base or the exponent is 0", () => {
    const a = input("a", "float64", [3]);
    const b = input("b", "float64", [3]);
    const gradients = grad(sum(pow(a, b)), [a, b]);
    expect(numbersOf(gradients, { a: [0, 0, 2], b: [2, 0, 0] })).toEqual([
      [0, 0, 0],
      [0, 0, Math.log(2)],
    ]);
  });
});

describe("functions with conventions", () => {
  it("rounds halves to the even neighbour", () => {
    expect(numbers(round(exact([-2.5, -1.5, 0.5, 1.5, 2.5, 3.5, 2.4999]))).map((value) => value + 0)).toEqual([
      -2, -2, 0, 2, 2, 4, 2,
    ]);
  });

  it("has remainders with the sign of the divisor", () => {
    expect(numbers(mod(constant([-7, 7, -7, 7], "int64"), constant([3, 3, -3, -3], "int64")))).toEqual([2, 1, -1, -2]);
  });

  // As the C library has it, on both sides of where the formula changes.
  it.each([
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.499, 0.9995908642442554],
    [2.6, 0.9997639655834707],
    [4, 0.9999999845827421],
    [5.9, 0.9999999999999999],
    [-1, -0.8427007929497149],
  ])("erf(%d)", (x, value) => {
    expect(numbers(erf(exact([x])))[0]).toBeCloseTo(value, 14);
  });

  it("gives the gradient of equal operands to the first", () => {
    const a = input("a", "float64", [2]);
    const b = input("b", "float64", [2]);
    const gradients = [maximum, minimum].flatMap((choose) => grad(sum(choose(a, b)), [a, b]));
    expect(numbersOf(gradients, { a: [1, 2], b: [1, 3] })).toEqual([
      [1, 0],
      [0, 1],
      [1, 1],
      [0, 0],
    ]);
  });

  it("knows numbers from what is none", () => {
    const x = exact([1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(numbers(isNaNTensor(x))).toEqual([0, 1, 0, 0]);
    expect(numbers(isFiniteTensor(x))).toEqual([1, 0, 0, 0]);
  });
});

describe("where", () => {
  it("lets a NaN through only where it is chosen", () => {
    const x = exact([Number.NaN, 2]);
    expect(numbers(where(isNaNTensor(x), 1, x))).toEqual([1, 2]);
  });

  it("gives the gradient to the side that is chosen", () => {
    const x = input("x", "float64", [2]);
    const y = input("y", "float64", [1]);
    expect(numbersOf(grad(sum(where(greater(x, 0), mul(x, 3), y)), [x, y]), { x: [-1, 2], y: [5] })).toEqual([[0, 3], [1]]);
  });

  it("refuses a condition that is not bool and values of two dtypes", () => {
    const x = input("x", "float32", [2]);
    expect(() => where(x, x, 0)).toThrow(DTypeError);
    expect(() => where(equal(x, 0), x, cast(x, "int32"))).toThrow(DTypeError);
  });
});

describe("clamp", () => {
  it("refuses bounds that cross", () => {
    expect(() => clamp(input("x", "float32", [2]), { min: 1, max: 0 })).toThrow(ArgumentError);
  });

  it("passes the gradient at the bounds and not beyond", () => {
    const x = input("x", "float64", [4]);
    expect(numbersOf(grad(sum(clamp(x, { min: 0, max: 1 })), [x]), { x: [-1, 0, 1, 2] })).toEqual([[0, 1, 1, 0]]);
  });
});

describe("composed activations", () => {
  const at = [-300, -2, -0.1, 0.1, 3, 300];

  it.each([
    ["leakyRelu", (x: Tensor) => leakyRelu(x, 0.2), (x: number) => (x > 0 ? x : 0.2 * x)],
    ["elu", (x: Tensor) => elu(x, 1.5), (x: number) => (x > 0 ? x : 1.5 * Math.expm1(x))],
    ["quickGelu", quickGelu, (x: number) => x / (1 + Math.exp(-1.702 * x))],
  ] as const)("%s", (_, fn, value) => {
    for (const [i, actual] of numbers(fn(exact(at))).entries()) expect(actual).toBeCloseTo(value(at[i] as number), 9);
    expect(problemsAt(at, fn)).toEqual([]);
  });

  it("keeps the gradient of elu finite where exp overflows", () => {
    const x = input("x", "float64", [1]);
    expect(numbersOf(grad(sum(elu(x)), [x]), { x: [1e4] })).toEqual([[1]]);
  });
});
