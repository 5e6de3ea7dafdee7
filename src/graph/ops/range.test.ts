import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addDims, formatShape, symbol } from "../dim.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { numbersOf } from "../testing/values.js";
import { causalMask, oneHot, range, tril, triu } from "./range.js";

const values = (tensor: Tensor): readonly number[] => numbersOf([tensor])[0] as number[];

describe("range", () => {
  it("counts from a start", () => {
    expect(values(range(3))).toEqual([0, 1, 2]);
    expect(values(range(2, "float32", -1))).toEqual([-1, 0]);
    expect(values(range(0, "int32"))).toEqual([]);
  });

  it("refuses sizes and types that do not count", () => {
    expect(() => range(-1)).toThrow(/whole number from 0/);
    expect(() => range(1.5)).toThrow(/whole number from 0/);
    expect(() => range(2, "bool")).toThrow(/cannot be bool/);
    expect(() => range(257, "uint8")).toThrow(/range: a number \(256\) cannot be stored as uint8/);
    expect(() => range(2, "uint32", -1)).toThrow(expect.objectContaining({ code: "DTYPE" }));
  });
});

describe("oneHot", () => {
  it("has a one at each index, and none for an index outside", () => {
    expect(values(oneHot(constant([1, -100, 0, 3], "int64"), 3))).toEqual([0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    expect(oneHot(constant([1], "int32"), 2, "bool").dtype).toBe("bool");
    // As uint8 the class 256 would be 0 too.
    expect(values(oneHot(constant([0, 2], "uint8"), 300)).reduce((total, value) => total + value)).toBe(2);
    expect(() => oneHot(constant([1]), 2)).toThrow(/indices must be integers/);
  });
});

describe("causalMask", () => {
  it("shows each query the keys up to its own position", () => {
    expect(values(causalMask(3, 3))).toEqual([1, 0, 0, 1, 1, 0, 1, 1, 1]);
    // Two new queries behind two keys of a cache.
    expect(values(causalMask(2, 4))).toEqual([1, 1, 1, 0, 1, 1, 1, 1]);
    expect(values(causalMask(2, 3, 0))).toEqual([1, 0, 0, 1, 1, 0]);
  });

  it("has symbolic sizes", () => {
    const [past, seq] = [symbol("past"), symbol("seq")];
    const mask = causalMask(seq, addDims(past, seq));
    expect(mask.dtype).toBe("bool");
    expect(formatShape(mask.shape)).toBe(`[seq, ${String(addDims(past, seq))}]`);
    const sizes = [input("a", "float32", [past]), input("b", "float32", [seq])];
    const [result] = numbersOf([mask, ...sizes], { a: [0, 0], b: [0, 0] });
    expect(result).toEqual([1, 1, 1, 0, 1, 1, 1, 1]);
  });
});

describe("triangles", () => {
  const x = constant([
    [1, 2, 3],
    [4, 5, 6],
  ]);

  it("keep one side of a diagonal", () => {
    expect(values(tril(x))).toEqual([1, 0, 0, 4, 5, 0]);
    expect(values(triu(x))).toEqual([1, 2, 3, 0, 5, 6]);
    expect(values(tril(x, 1))).toEqual([1, 2, 0, 4, 5, 6]);
    expect(values(triu(x, 1))).toEqual([0, 2, 3, 0, 0, 6]);
    expect(values(tril(x, -1))).toEqual([0, 0, 0, 4, 0, 0]);
    expect(() => tril(constant([1]))).toThrow(/rows and columns/);
  });

  it("share nothing and leave nothing out", () => {
    fc.assert(
      fc.property(fc.integer({ min: -3, max: 3 }), (diagonal) => {
        const [lower, upper, whole] = numbersOf([tril(x, diagonal), triu(x, diagonal + 1), x]) as [number[], number[], number[]];
        expect(lower.map((value, i) => value + (upper[i] as number))).toEqual(whole);
      }),
    );
  });
});
