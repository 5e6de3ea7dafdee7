import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addDims, formatShape, type Shape, subDims, symbol } from "../dim.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { numbersOf } from "../testing/values.js";
import { concat, flip, pad, padAxis, select, slice, split, stack } from "./shape-slice.js";

const past = symbol("past");
const seq = symbol("seq");
const counting = (size: number): Tensor => constant(Array.from({ length: size }, (_, i) => i));
const values = (tensor: Tensor): readonly number[] => numbersOf([tensor])[0] as number[];
const shapeOf = ({ shape }: { readonly shape: Shape }): string => formatShape(shape);

describe("slice", () => {
  const x = input("x", "float32", [addDims(past, seq), 8]);

  it("takes what Array.slice takes", () => {
    const bounds = fc
      .tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 7 }))
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
    fc.assert(
      fc.property(bounds, fc.boolean(), fc.integer({ min: 1, max: 4 }), ([start, end], fromEnd, step) => {
        const expected = [0, 1, 2, 3, 4, 5, 6].slice(start, end).filter((_, i) => i % step === 0);
        // −0 would be the start, so an end of 7 is left out.
        const bound = (position: number | undefined) => (fromEnd && position !== 7 ? (position as number) - 7 : position);
        expect(values(slice(counting(7), 0, bound(start) as number, bound(end), step))).toEqual(expected);
      }),
    );
  });

  it("has bounds that are sizes", () => {
    expect(slice(x, 0, past).shape[0]).toEqual(seq);
    expect(slice(x, 0, 0, past).shape[0]).toEqual(past);
    expect(slice(x, 0, -1).shape[0]).toBe(1);
    expect(slice(x, 0, 1).shape[0]).toEqual(addDims(past, seq, -1));
  });

  it("is the tensor itself when everything is taken", () => {
    expect(slice(x, 1, 0, 8)).toBe(x);
    expect(slice(x, 0, 0)).toBe(x);
  });

  it("refuses what does not lie inside", () => {
    expect(() => slice(x, 1, 3, 9)).toThrow(/slice: 6 elements from 3 do not lie inside axis 1/);
    expect(() => slice(x, 1, -9)).toThrow(/do not lie inside/);
    expect(() => slice(x, 1, 5, 3)).toThrow(/do not lie inside/);
    expect(() => slice(x, 1, 0, 8, 0)).toThrow(/step must be a whole number from 1/);
    expect(() => slice(x, 1, 0, 8, -1)).toThrow(/use flip/);
  });
});

describe("select", () => {
  it("takes one element of an axis, which disappears", () => {
    const x = constant([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(values(select(x, 1, -1))).toEqual([3, 6]);
    expect(values(select(x, 0, 1))).toEqual([4, 5, 6]);
    const last = select(input("x", "float32", [2, seq, 3]), 1, subDims(seq, 1));
    expect(shapeOf(last)).toBe("[2, 3]");
    expect(() => select(x, 0, 2)).toThrow(/do not lie inside/);
  });
});

describe("concat and split", () => {
  it("are inverse to one another", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(sizes, (parts) => {
        const x = counting(parts.reduce((total, size) => total + size, 0));
        const pieces = split(x, parts, 0);
        expect(pieces.map(({ shape }) => shape)).toEqual(parts.map((size) => [size]));
        expect(values(concat(pieces, 0))).toEqual(values(x));
      }),
    );
  });

  it("add up symbolic sizes", () => {
    const joined = concat([input("a", "float32", [past, 2]), input("b", "float32", [seq, 2])], 0);
    expect(joined.shape[0]).toEqual(addDims(past, seq));
    expect(split(joined, [past, seq], 0).map(shapeOf)).toEqual(["[past, 2]", "[seq, 2]"]);
  });

  it("divide into equal parts", () => {
    expect(split(input("x", "float32", [seq, 6]), 3, -1).map(shapeOf)).toEqual(["[seq, 2]", "[seq, 2]", "[seq, 2]"]);
    expect(() => split(counting(7), 2, 0)).toThrow(/does not divide into 2 equal parts/);
    expect(() => split(counting(7), 0, 0)).toThrow(/number of parts/);
  });

  it("refuse sizes that do not fit", () => {
    expect(() => split(counting(7), [3, 3], 0)).toThrow(/split: the sizes 3, 3 add up to 6, but axis 0 of \[7\] has 7/);
    const [a, b] = [input("a", "float32", [2, 3]), input("b", "float32", [3, 3])];
    expect(() => concat([a, b], 1)).toThrow(/concat: \[2, 3\] and \[3, 3\] must be equal except in axis 1/);
    expect(() => concat([], 0)).toThrow(/at least one/);
    expect(() => concat([a, input("c", "int64", [2, 3])], 0)).toThrow(/one dtype/);
  });

  it("stack along a new axis", () => {
    const [a, b] = [constant([1, 2]), constant([3, 4])];
    expect(values(stack([a, b]))).toEqual([1, 2, 3, 4]);
    expect(values(stack([a, b], -1))).toEqual([1, 3, 2, 4]);
  });
});

describe("flip", () => {
  it("reverses the order", () => {
    expect(values(flip(counting(4), 0))).toEqual([3, 2, 1, 0]);
    const x = constant([
      [1, 2],
      [3, 4],
    ]);
    expect(values(flip(x, [0, -1]))).toEqual([4, 3, 2, 1]);
    expect(flip(x, [])).toBe(x);
  });
});

describe("pad", () => {
  it("adds elements around", () => {
    expect(values(pad(counting(2), [[1, 2]], 9))).toEqual([9, 0, 1, 9, 9]);
    expect(shapeOf(pad(input("x", "float32", [seq, 2]), [past, [0, 1]]))).toBe(`[${String(addDims(past, seq, past))}, 3]`);
    expect(shapeOf(padAxis(input("x", "float32", [seq, 2]), -1, 1, 1))).toBe("[seq, 4]");
  });

  it("refuses paddings that do not fit", () => {
    expect(() => pad(counting(2), [1, 1])).toThrow(/needs 1 paddings/);
    expect(() => pad(counting(2), [-1])).toThrow(/cannot be negative/);
    expect(() => pad(input("x", "bool", [2]), [1], 2)).toThrow(/\(2\) cannot be stored as bool/);
  });
});
