import { describe, expect, it } from "vitest";
import { formatShape, symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { constant, input } from "../leaves.js";
import { numbersOf } from "../testing/values.js";
import { mul } from "./arithmetic.js";
import { gather, scatterAdd, scatterAddAlong, takeAlong } from "./indexing.js";
import { sum } from "./reduce.js";
import { transpose } from "./shape.js";

const table = input("table", "float32", [4, 2]);
const ids = input("ids", "int64", [5]);
const feeds = {
  table: [
    [1, 2],
    [3, 4],
    [5, 6],
    [7, 8],
  ],
  ids: [3, 0, 3, 3, 1],
};

describe("gather", () => {
  it("reads rows; their gradients add up where a row is read more than once", () => {
    const rows = gather(table, ids);
    const [gradient] = grad(sum(mul(rows, constant([[1], [10], [100], [1000], [10000]]))), [table]);
    const [read, dTable] = numbersOf([rows, gradient as typeof rows], feeds);
    expect(read).toEqual([7, 8, 1, 2, 7, 8, 7, 8, 3, 4]);
    expect(dTable).toEqual([10, 10, 10000, 10000, 0, 0, 1101, 1101]);
  });

  it("puts the axes of the indices in the place of the axis", () => {
    const [batch, seq] = [symbol("batch"), symbol("seq")];
    const x = input("x", "float32", [2, 3, 4]);
    expect(formatShape(gather(x, input("i", "int32", [batch, seq]), -2).shape)).toBe("[2, batch, seq, 4]");
    expect(formatShape(gather(x, constant(1, "int64"), 1).shape)).toBe("[2, 4]");
  });

  it("refuses indices that are not integers", () => {
    expect(() => gather(table, input("i", "float32", [2]))).toThrow(/gather: indices must be int32 or int64/);
    expect(() => gather(table, ids, 2)).toThrow(/axis 2/);
  });
});

describe("scatterAdd", () => {
  it("adds repeated indices up, along any axis", () => {
    const updates = input("updates", "float32", [4, 3]);
    const moved = scatterAdd(constant(new Array(4).fill([0, 0])), constant([1, 0, 1], "int64"), transpose(updates), 1);
    const [result] = numbersOf([moved], {
      updates: [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
        [0, 0, 1],
      ],
    });
    expect(result).toEqual([2, 4, 5, 10, 8, 16, 0, 1]);
  });

  it("refuses updates that do not fit", () => {
    expect(() => scatterAdd(table, ids, input("u", "float32", [4, 2]))).toThrow(/updates must have the shape \[5, 2\]/);
    expect(() => scatterAdd(table, ids, input("u", "float16", [5, 2]))).toThrow(/updates must be float32/);
  });
});

describe("takeAlong", () => {
  const x = input("x", "float32", [2, 3]);

  it("reads one element for each index; scatterAddAlong is its transpose", () => {
    const chosen = constant(
      [
        [2, 2],
        [0, 1],
      ],
      "int64",
    );
    const back = scatterAddAlong(
      constant([
        [0, 0, 0],
        [0, 0, 0],
      ]),
      chosen,
      constant([
        [1, 2],
        [3, 4],
      ]),
      1,
    );
    const [read, added] = numbersOf([takeAlong(x, chosen, -1), back], {
      x: [
        [1, 2, 3],
        [4, 5, 6],
      ],
    });
    expect(read).toEqual([3, 3, 4, 5]);
    expect(added).toEqual([0, 0, 3, 3, 4, 0]);
  });

  it("refuses indices whose other sizes differ from x", () => {
    expect(() => takeAlong(x, input("i", "int64", [3, 1]), 1)).toThrow(
      /takeAlong: indices \[3, 1\] must have the sizes of \[2, 3\]/,
    );
  });
});
