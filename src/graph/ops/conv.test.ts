import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addDims, ceilDivDims, mulDims, symbol } from "../dim.js";
import { grad } from "../gradient.js";
import { constant, input } from "../leaves.js";
import { namedRandom } from "../random.js";
import type { Tensor } from "../tensor.js";
import { numbersOf } from "../testing/values.js";
import { mul } from "./arithmetic.js";
import { conv1d, conv2d, convTranspose1d, convTranspose2d } from "./conv.js";
import { sum } from "./reduce.js";
import { reshape } from "./shape.js";
import { concat, split } from "./shape-slice.js";

const values = (tensor: Tensor): readonly number[] => numbersOf([tensor])[0] as number[];
const scalar = (tensor: Tensor): number => values(tensor)[0] as number;

function randomTensor(name: string, shape: readonly number[]): Tensor {
  const { normal } = namedRandom(3, name);
  return reshape(constant(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, normal), "float64"), shape);
}

/** Options for one spatial axis and a size that the windows tile exactly, so that the transpose gives it back. */
const geometry = fc.record({
  stride: fc.integer({ min: 1, max: 3 }),
  dilation: fc.integer({ min: 1, max: 3 }),
  padding: fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })),
  groups: fc.constantFrom(1, 2),
  kernel: fc.integer({ min: 1, max: 3 }),
  windows: fc.integer({ min: 2, max: 4 }),
  outputPadding: fc.integer({ min: 0, max: 2 }),
});

describe("convolution", () => {
  it("slides the kernel without flipping it", () => {
    const x = constant([[[1, 2, 3, 4]]]);
    expect(values(conv1d(x, constant([[[1, 10]]])))).toEqual([21, 32, 43]);
    // Padding before alone: position t sees t − 1 and t.
    expect(values(conv1d(x, constant([[[1, 10]]]), undefined, { padding: [[1, 0]] }))).toEqual([10, 21, 32, 43]);
    expect(values(conv1d(x, constant([[[1, 10]]]), constant([0.5]), { stride: 2 }))).toEqual([21.5, 43.5]);
    expect(values(conv1d(x, constant([[[1, 10]]]), undefined, { dilation: 3 }))).toEqual([41]);
  });

  it("has the transpose that a linear map has: ⟨conv x, y⟩ = ⟨x, convᵀ y⟩", () => {
    fc.assert(
      fc.property(geometry, ({ kernel, windows, outputPadding, ...options }) => {
        const extra = outputPadding % options.stride;
        const size =
          (windows - 1) * options.stride + options.dilation * (kernel - 1) + 1 - options.padding[0] - options.padding[1] + extra;
        fc.pre(size > 0);
        const weight = randomTensor("weight", [4, 6 / options.groups, kernel]);
        const [x, y] = [randomTensor("x", [2, 6, size]), randomTensor("y", [2, 4, windows])];
        const given = { ...options, padding: [options.padding] };
        const forward = conv1d(x, weight, undefined, given);
        const back = convTranspose1d(y, weight, undefined, { ...given, outputPadding: extra });
        expect(forward.shape).toEqual(y.shape);
        expect(back.shape).toEqual(x.shape);
        expect(scalar(sum(mul(forward, y)))).toBeCloseTo(scalar(sum(mul(x, back))), 8);
      }),
      { numRuns: 60 },
    );
  });

  it("in groups is a convolution for each", () => {
    const [x, weight, bias] = [randomTensor("x", [2, 4, 5, 4]), randomTensor("weight", [6, 2, 3, 2]), randomTensor("bias", [6])];
    const [xs, weights, biases] = [split(x, 2, 1), split(weight, 2, 0), split(bias, 2, 0)];
    const parts = xs.map((part, i) => conv2d(part, weights[i] as Tensor, biases[i], { padding: 1 }));
    const grouped = values(conv2d(x, weight, bias, { padding: 1, groups: 2 }));
    for (const [i, value] of values(concat(parts, 1)).entries()) expect(grouped[i]).toBeCloseTo(value, 10);
  });

  it("over two axes is one over each when the kernel is a product", () => {
    const x = randomTensor("x", [1, 1, 5, 6]);
    const [rows, columns] = [constant([1, -2, 3], "float64"), constant([2, 5], "float64")];
    const kernel = mul(reshape(rows, [1, 1, 3, 1]), reshape(columns, [1, 1, 1, 2]));
    const twice = conv2d(conv2d(x, reshape(rows, [1, 1, 3, 1])), reshape(columns, [1, 1, 1, 2]));
    const once = values(conv2d(x, kernel));
    for (const [i, value] of values(twice).entries()) expect(once[i]).toBeCloseTo(value, 10);
  });

  it("sums the gradient of the bias over everything but channels", () => {
    const bias = randomTensor("bias", [2]);
    const y = conv1d(randomTensor("x", [3, 1, 4]), randomTensor("weight", [2, 1, 2]), bias); // [3, 2, 3]
    expect(values(grad(sum(y), [bias])[0] as Tensor)).toEqual([9, 9]);
  });

  it("keeps symbolic sizes, also through a transposed convolution and its gradient", () => {
    const [batch, size] = [symbol("batch"), symbol("size")];
    const x = input("x", "float32", [batch, 3, size]);
    const weight = input("weight", "float32", [3, 4, 4]);
    const up = convTranspose1d(x, weight, undefined, { stride: 2, padding: 1, outputPadding: 1 });
    expect(up.shape).toEqual([batch, 4, addDims(mulDims(size, 2), 1)]);
    const [dx, dWeight] = grad(sum(mul(up, up)), [x, weight]);
    expect(dx?.shape).toEqual(x.shape);
    expect(dWeight?.shape).toEqual(weight.shape);
    expect(conv1d(x, input("w", "float32", [5, 3, 3]), undefined, { stride: 2, padding: 1 }).shape).toEqual([
      batch,
      5,
      ceilDivDims(size, 2),
    ]);
  });

  it("refuses what does not fit together", () => {
    const x = input("x", "float32", [2, 4, 8]);
    const weight = input("weight", "float32", [6, 4, 3]);
    expect(() => conv2d(x, weight)).toThrow(/conv2d: x must have 4 axes, batch, channels and 2 spatial axes/);
    expect(() => conv1d(x, input("w", "float32", [6, 4]))).toThrow(/conv1d: the weight must have 3 axes/);
    expect(() => conv1d(x, weight, undefined, { groups: 2 })).toThrow(/x has 4 channels, but the weight is for 8/);
    expect(() => conv1d(x, input("w", "float32", [5, 2, 3]), undefined, { groups: 2 })).toThrow(
      /5 output channels do not divide into 2/,
    );
    expect(() => conv1d(x, weight, undefined, { groups: 0 })).toThrow(/number of groups/);
    expect(() => conv1d(x, weight, undefined, { stride: 0 })).toThrow(/conv1d: the stride must be a whole number from 1/);
    expect(() => conv1d(x, weight, undefined, { padding: [1, 1] })).toThrow(/1 of them, one for each spatial axis/);
    expect(() => conv1d(x, weight, undefined, { dilation: 4 })).toThrow(/a window of 3 with dilation 4 does not fit/);
    expect(() => conv1d(x, weight, input("b", "float32", [4]))).toThrow(/the bias must have the shape \[6\]/);
    expect(() => conv1d(x, input("w", "float16", [6, 4, 3]))).toThrow(/one dtype/);
    const transposed = input("w", "float32", [4, 2, 3]);
    expect(() => convTranspose1d(x, weight)).toThrow(/x has 4 channels, but the weight is for 6/);
    expect(() => convTranspose1d(x, transposed, undefined, { outputPadding: 1 })).toThrow(
      /output padding 1 must be less than the stride 1/,
    );
    expect(() => convTranspose2d(x, transposed)).toThrow(/x must have 4 axes/);
  });
});
