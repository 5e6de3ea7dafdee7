import { describe, expect, it } from "vitest";
import { ceilDivDims, symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { numbersOf } from "../testing/values.js";
import { mul } from "./arithmetic.js";
import { avgPool1d, avgPool2d, maxPool1d, maxPool2d } from "./pool.js";
import { mean, sum } from "./reduce.js";

const x = input("x", "float32", [1, 1, 6]);
const feed = (...row: number[]) => ({ x: [[row]] });
const values = (tensor: Tensor, feeds = feed(0, 0, 0, 0, 0, 0)): readonly number[] => numbersOf([tensor], feeds)[0] as number[];

describe("maxPool", () => {
  it("moves by the kernel unless a stride is given", () => {
    expect(values(maxPool1d(x, { kernel: 2 }), feed(1, 2, 4, 3, -1, -2))).toEqual([2, 4, -1]);
    expect(values(maxPool1d(x, { kernel: 2, stride: 1 }), feed(1, 2, 4, 3, -1, -2))).toEqual([2, 4, 4, 3, -1]);
  });

  it("never takes padding", () => {
    expect(values(maxPool1d(x, { kernel: 2, padding: 1 }), feed(-1, -2, -3, -4, -5, -6))).toEqual([-1, -2, -4, -6]);
  });

  it("gives the gradient to the first largest element, once for each window that it wins", () => {
    const weighted = (y: Tensor) => sum(mul(y, constant([[Array.from({ length: y.shape[2] as number }, (_, i) => 10 ** i)]])));
    const gradient = (y: Tensor) => grad(weighted(y), [x])[0] as Tensor;
    const row = feed(5, 5, 1, 7, 1, 1);
    expect(values(gradient(maxPool1d(x, { kernel: 3 })), row)).toEqual([1, 0, 0, 10, 0, 0]);
    expect(values(gradient(maxPool1d(x, { kernel: 3, stride: 1 })), row)).toEqual([1, 0, 0, 1110, 0, 0]);
    expect(values(gradient(maxPool1d(x, { kernel: 2, padding: 1 })), row)).toEqual([1, 10, 0, 100, 0, 1000]);
    // Nothing but −∞: the gradient stays inside.
    const nothing = new Array<number>(6).fill(Number.NEGATIVE_INFINITY);
    expect(values(gradient(maxPool1d(x, { kernel: 2, padding: 1 })), feed(...nothing)).reduce((a, b) => a + b)).toBe(1111);
  });

  it("has symbolic sizes", () => {
    const [batch, size] = [symbol("batch"), symbol("size")];
    const image = input("image", "float32", [batch, 3, size, 8]);
    expect(maxPool2d(image, { kernel: [3, 2], padding: [1, 0] }).shape).toEqual([batch, 3, ceilDivDims(size, 3), 4]);
    expect(grad(sum(maxPool2d(image, { kernel: 2 })), [image])[0]?.shape).toEqual(image.shape);
  });

  it("refuses windows that do not fit", () => {
    expect(() => maxPool1d(x, { kernel: 7 })).toThrow(/maxPool: a window of 7 with dilation 1 does not fit/);
    expect(() => maxPool1d(x, { kernel: 3, padding: 2 })).toThrow(/padding of 2 is more than half of the kernel, 3/);
    expect(() => maxPool1d(x, { kernel: 0 })).toThrow(/maxPool1d: the kernel must be a whole number from 1/);
    expect(() => maxPool2d(x, { kernel: 2 })).toThrow(/maxPool2d: x must have 4 axes/);
  });
});

describe("avgPool", () => {
  it("counts padding as zeros or not at all", () => {
    const row = feed(2, 4, 6, 8, 10, 12);
    expect(values(avgPool1d(x, { kernel: 2, padding: 1 }), row)).toEqual([1, 5, 9, 6]);
    expect(values(avgPool1d(x, { kernel: 2, padding: 1, countPadding: false }), row)).toEqual([2, 5, 9, 12]);
  });

  it("shares the gradient among the elements that were counted", () => {
    const gradient = (countPadding: boolean) =>
      grad(sum(avgPool1d(x, { kernel: 2, padding: 1, countPadding })), [x])[0] as Tensor;
    expect(values(gradient(true))).toEqual([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    expect(values(gradient(false))).toEqual([1, 0.5, 0.5, 0.5, 0.5, 1]);
  });

  it("over everything is the mean", () => {
    const image = constant([
      [
        [
          [1, 2, 3],
          [4, 5, 9],
        ],
      ],
    ]);
    expect(values(avgPool2d(image, { kernel: [2, 3] }))).toEqual(values(mean(image, { axes: [2, 3] })));
  });
});
