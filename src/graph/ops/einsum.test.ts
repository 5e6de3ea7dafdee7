import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArgumentError, ShapeError } from "../../errors.js";
import { symbol } from "../dim.js";
import { nodesOf } from "../graph.js";
import { constant, input } from "../leaves.js";
import { gradientProblems } from "../testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "../testing/values.js";
import { einsum } from "./einsum.js";

interface Operand {
  readonly labels: string;
  readonly values: readonly number[];
}

/** The definition: every assignment of the labels adds one product. */
function bruteForce(operands: readonly Operand[], output: string, sizes: Readonly<Record<string, number>>): readonly number[] {
  const size = (label: string) => sizes[label] as number;
  const offset = (labels: string, at: Readonly<Record<string, number>>) =>
    [...labels].reduce((position, label) => position * size(label) + (at[label] as number), 0);
  const result = new Array<number>([...output].reduce((count, label) => count * size(label), 1)).fill(0);
  const all = [...new Set([...operands.map(({ labels }) => labels).join("")])];
  const visit = (depth: number, at: Record<string, number>): void => {
    const label = all[depth];
    if (label === undefined) {
      const product = operands.reduce((total, { labels, values }) => total * (values[offset(labels, at)] as number), 1);
      const position = offset(output, at);
      result[position] = (result[position] as number) + product;
      return;
    }
    for (let i = 0; i < size(label); i++) visit(depth + 1, { ...at, [label]: i });
  };
  visit(0, {});
  return result;
}

const sizes = { a: 2, b: 3, c: 1, d: 4 };

const equations = fc
  .tuple(
    fc.array(fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 3 }), { minLength: 1, maxLength: 3 }),
    fc.integer({ min: 0 }),
    fc.integer(),
  )
  .map(([inputs, chosen, seed]) => {
    const labels = [...new Set(inputs.flat())];
    // A subset of the labels, rotated.
    const kept = labels.filter((_, i) => (chosen >> i) & 1);
    const turn = kept.length ? (chosen >> 4) % kept.length : 0;
    return { inputs: inputs.map((part) => part.join("")), output: [...kept.slice(turn), ...kept.slice(0, turn)].join(""), seed };
  });

describe("einsum", () => {
  it("is the sum of products over all labels that the output leaves out", () => {
    fc.assert(
      fc.property(equations, ({ inputs, output, seed }) => {
        let state = seed;
        const next = () => {
          state = (Math.imul(state, 1103515245) + 12345) | 0;
          return (state >> 16) / 32768;
        };
        const operands = inputs.map((labels) => {
          const shape = [...labels].map((label) => sizes[label as keyof typeof sizes]);
          const values = Array.from({ length: shape.reduce((count, size) => count * size, 1) }, next);
          return { labels, values, tensor: constant({ dtype: "float64", shape, data: Float64Array.from(values) }) };
        });
        const actual = numbersOf([einsum(`${inputs.join(",")}->${output}`, ...operands.map(({ tensor }) => tensor))])[0];
        const expected = bruteForce(operands, output, sizes);
        expect(actual).toHaveLength(expected.length);
        for (const [i, value] of expected.entries()) expect(actual?.[i]).toBeCloseTo(value, 9);
      }),
      { numRuns: 300 },
    );
  });

  it("sorts the letters that occur once when no output is given", () => {
    const a = constant([
      [1, 2],
      [3, 4],
    ]);
    expect(numbersOf([einsum("ba", a), einsum("ii", a), einsum("i,j", constant([1, 2]), constant([3, 4]))])).toEqual([
      [1, 3, 2, 4],
      [5],
      [3, 4, 6, 8],
    ]);
  });

  it("broadcasts behind an ellipsis", () => {
    const a = input("a", "float32", [3, 1, 2, 4]);
    const b = input("b", "float32", [5, 4, 2]);
    expect(einsum("...ij,...jk->...ik", a, b).shape).toEqual([3, 5, 2, 2]);
    expect(einsum("...i,i", a, input("c", "float32", [4])).shape).toEqual([3, 1, 2]);
    const ones = (shape: number[]) => Array.from({ length: shape.reduce((x, y) => x * y, 1) }, () => 1);
    const filled = (shape: number[]) => constant({ dtype: "float64", shape, data: Float64Array.from(ones(shape)) });
    expect(numbersOf([einsum("...ij,...jk->k...", filled([3, 1, 2, 4]), filled([5, 4, 2]))])[0]).toEqual(
      new Array(2 * 3 * 5).fill(8),
    );
  });

  it("takes symbolic sizes and needs neither transposes nor sums for attention scores", () => {
    const [batch, queries, keys] = [symbol("batch"), symbol("queries"), symbol("keys")];
    const q = input("q", "float32", [batch, 2, queries, 8]);
    const k = input("k", "float32", [batch, 2, keys, 8]);
    const scores = einsum("bhqd,bhkd->bhqk", q, k);
    expect(scores.shape).toEqual([batch, 2, queries, keys]);
    expect(nodesOf([scores]).map(({ op }) => op.name)).toEqual(["input", "input", "matmul"]);
  });

  it("has the right gradients", () => {
    const a = input("a", "float64", [2, 3, 3]);
    const b = input("b", "float64", [4, 3]);
    const graph = graphOf([einsum("xii,yi->yx", a, b)]);
    const feeds = {
      a: Array.from({ length: 2 }, (_, i) => Array.from({ length: 3 }, (_, j) => [0.1 + i, j - 0.5, i * j])),
      b: Array.from({ length: 4 }, (_, i) => [0.3 * i, 1, -i]),
    };
    expect(gradientProblems(graph, inputsOf(graph, feeds), ["a", "b"])).toEqual([]);
  });

  it.each([
    ["ab->ab->a", ArgumentError],
    ["ab,bc->ac", ArgumentError], // one operand is missing
    ["a1->a", ArgumentError],
    ["ab->aa", ArgumentError],
    ["ab->ac", ArgumentError],
    ["abc->a", ShapeError],
    ["aa->a", ShapeError], // 2 and 3 are not one size
  ])("refuses %s", (equation, error) => {
    expect(() => einsum(equation, input("x", "float32", [2, 3]))).toThrow(error);
  });
});
