import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TsumikiError } from "../../errors.js";
import { addDims, formatShape, mulDims, symbol } from "../dim.js";
import { constant, input } from "../leaves.js";
import { numbersOf } from "../testing/values.js";
import { repeatInterleave, tile } from "./repeat.js";
import { flatten, moveAxis, reshape, squeeze, swapAxes, transpose, unsqueeze } from "./shape.js";

const batch = symbol("batch");
const seq = symbol("seq");
const shapeOf = (tensor: { readonly shape: Parameters<typeof formatShape>[0] }): string => formatShape(tensor.shape);
const values = (tensor: Parameters<typeof numbersOf>[0][number]): readonly number[] => numbersOf([tensor])[0] as number[];

describe("reshape", () => {
  const x = input("x", "float32", [batch, seq, 6]);

  it("finds the size that is left open", () => {
    expect(shapeOf(reshape(x, [batch, -1, 2, 3]))).toBe("[batch, seq, 2, 3]");
    expect(reshape(x, [-1, 3]).shape[0]).toEqual(mulDims(batch, seq, 2));
  });

  it("gives back the tensor itself when nothing changes", () => {
    expect(reshape(x, [batch, -1, 6])).toBe(x);
  });

  it("refuses another number of elements", () => {
    expect(() => reshape(x, [batch, seq, 5])).toThrow(/reshape: .*6·batch·seq.*5·batch·seq/s);
    expect(() => reshape(x, [batch, seq, 4, -1])).toThrow(TsumikiError);
    expect(() => reshape(x, [-1, -1])).toThrow(TsumikiError);
  });
});

describe("axes of size 1", () => {
  const x = input("x", "float32", [1, batch, 1, 3]);

  it("are removed and inserted", () => {
    expect(shapeOf(squeeze(x))).toBe("[batch, 3]");
    expect(shapeOf(squeeze(x, -2))).toBe("[1, batch, 3]");
    expect(shapeOf(squeeze(x, [0, 2]))).toBe("[batch, 3]");
    expect(shapeOf(unsqueeze(x, [0, -1]))).toBe("[1, 1, batch, 1, 3, 1]");
  });

  it("are not taken from where another size may be", () => {
    expect(() => squeeze(x, 1)).toThrow(/axis 1 of \[1, batch, 1, 3\] has size batch/);
    expect(() => unsqueeze(x, [0, -6])).toThrow(/one position twice/);
  });
});

describe("flatten", () => {
  const x = input("x", "float32", [2, batch, seq, 3]);

  it("joins neighbouring axes", () => {
    expect(flatten(x).shape).toEqual([mulDims(batch, seq, 6)]);
    expect(shapeOf(flatten(x, 1, 2))).toBe("[2, batch·seq, 3]");
    expect(shapeOf(flatten(x, -2))).toBe("[2, batch, 3·seq]");
    expect(shapeOf(flatten(constant(1)))).toBe("[1]");
  });

  it("refuses an end before the start", () => {
    expect(() => flatten(x, 2, 1)).toThrow(/lies before the start/);
  });
});

describe("transpose", () => {
  const x = constant([
    [1, 2, 3],
    [4, 5, 6],
  ]);

  it("reverses the axes unless an order is given", () => {
    expect(values(transpose(x))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(transpose(x, [0, -1])).toBe(x);
  });

  it("exchanges and moves axes", () => {
    const y = input("y", "float32", [2, 3, 4, 5]);
    expect(shapeOf(swapAxes(y, 0, -1))).toBe("[5, 3, 4, 2]");
    expect(shapeOf(moveAxis(y, 0, 2))).toBe("[3, 4, 2, 5]");
    expect(shapeOf(moveAxis(y, -1, 0))).toBe("[5, 2, 3, 4]");
  });

  it("refuses what is no order of the axes", () => {
    expect(() => transpose(x, [0, 0])).toThrow(/transpose: \[0, 0\] is not an order of the axes of \[2, 3\]/);
    expect(() => transpose(x, [0])).toThrow(TsumikiError);
  });

  it("is undone by the inverse order", () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 });
    fc.assert(
      fc.property(order, (permutation) => {
        const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
        const y = reshape(constant(Array.from({ length: 24 }, (_, i) => i)), [1, 2, 3, 4]);
        const back = transpose(transpose(y, permutation), inverse);
        expect(values(back)).toEqual(values(y));
      }),
    );
  });
});

describe("repetition", () => {
  const x = constant([
    [1, 2],
    [3, 4],
  ]);

  it("lays copies side by side", () => {
    expect(values(tile(x, [1, 2]))).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(values(tile(x, [2, 1]))).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
    expect(tile(input("y", "float32", [batch, 2]), [3, seq]).shape).toEqual([mulDims(batch, 3), mulDims(seq, 2)]);
    expect(() => tile(x, [2])).toThrow(/needs 2 repeats/);
  });

  it("repeats each element in a row", () => {
    expect(values(repeatInterleave(x, 2, 1))).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
    expect(values(repeatInterleave(x, 2, 0))).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(repeatInterleave(input("y", "float32", [addDims(batch, 1)]), 2, 0).shape).toEqual([addDims(mulDims(batch, 2), 2)]);
  });
});
