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
import { add, mul } from "./arithmetic.js";
import { zeros } from "./fill.js";
import { crossEntropy, zLoss } from "./loss.js";

const rows = [
  [1, -2, 0.5],
  [0, 3, -1],
  [2, 2, 2],
];
const logits = (): Tensor => input("logits", "float64", [3, 3]);
const labels = (...values: number[]): Tensor => constant(values, "int64");
const logSumExpOf = (row: readonly number[]): number => Math.log(row.reduce((total, value) => total + Math.exp(value), 0));

describe("crossEntropy", () => {
  it("averages over the labels that count", () => {
    const expected = (logSumExpOf(rows[0] as number[]) - 0.5 + logSumExpOf(rows[2] as number[]) - 2) / 2;
    expect(numbersOf([crossEntropy(logits(), labels(2, -100, 0))], { logits: rows })[0]?.[0]).toBeCloseTo(expected, 12);
  });

  it("is 0 with gradient 0 when no label counts, whatever the logits are", () => {
    const x = logits();
    const loss = crossEntropy(x, labels(-100, -100, -100), { labelSmoothing: 0.1, zLoss: 1e-3 });
    const large = rows.map((row) => row.map((value) => value * 1e200));
    expect(numbersOf([loss, ...grad(loss, [x])], { logits: large })).toEqual([[0], new Array(9).fill(0)]);
  });

  it("averages over more labels than float16 holds", () => {
    const x = zeros([70_000, 2], "float16");
    const loss = crossEntropy(x, zeros([70_000], "int32"));
    const values = evaluate(graphOf([loss, ...grad(mul(loss, 1024), [x])]), new Map());
    expect(toNumbers(values.get("0") as HostArray)[0]).toBeCloseTo(Math.LN2, 3);
    expect((toNumbers(values.get("1") as HostArray)[0] as number) / (-512 / 70_000)).toBeCloseTo(1, 2);
  });

  it("has the gradient softmax − onehot in few operators", () => {
    const x = logits();
    const [gradient] = grad(crossEntropy(x, labels(2, -100, 0)), [x]);
    const wide = nodesOf([gradient as Tensor]).filter(({ outputs: [y] }) => y?.rank === 2 && y.shape[1] === 3);
    expect(wide.map(({ op }) => op.name)).toEqual(["input", "softmax", "mul", "scatterAddAlong"]);
    const share = (row: number[], i: number) => Math.exp((row[i] as number) - logSumExpOf(row)) / 2;
    const [first, , third] = rows as [number[], number[], number[]];
    const expected = [
      share(first, 0),
      share(first, 1),
      share(first, 2) - 0.5,
      0,
      0,
      0,
      share(third, 0) - 0.5,
      share(third, 1),
      share(third, 2),
    ];
    for (const [i, value] of (numbersOf([gradient as Tensor], { logits: rows })[0] ?? []).entries())
      expect(value).toBeCloseTo(expected[i] as number, 12);
  });

  it.each([
    { reduction: "mean" },
    { reduction: "sum", labelSmoothing: 0.2 },
    { reduction: "none", zLoss: 0.01 },
    { ignoreIndex: 1, labelSmoothing: 1, zLoss: 0.1 },
  ] as const)("has gradients that agree with differences: %o", (options) => {
    const graph = graphOf([crossEntropy(logits(), labels(2, 1, 0), options)]);
    expect(gradientProblems(graph, inputsOf(graph, { logits: rows }), ["logits"])).toEqual([]);
  });

  it("adds the z-loss of the positions that count", () => {
    const x = logits();
    const losses = [crossEntropy(x, labels(2, 1, 0)), crossEntropy(x, labels(2, 1, 0), { zLoss: 0.5 }), zLoss(x, 0.5)];
    const [plain, regularized, alone] = numbersOf(losses, { logits: rows });
    expect(regularized?.[0]).toBeCloseTo((plain?.[0] as number) + (alone?.[0] as number), 12);
  });

  it("keeps symbolic sizes", () => {
    const [batch, seq] = [symbol("batch"), symbol("seq")];
    const x = input("x", "float32", [batch, seq, 7]);
    const targets = input("targets", "int32", [batch, seq]);
    expect(crossEntropy(x, targets, { reduction: "none" }).shape).toEqual([batch, seq]);
    const total = add(crossEntropy(x, targets), mul(zLoss(x), 2));
    expect(total.shape).toEqual([]);
    expect(grad(total, [x])[0]?.shape).toEqual([batch, seq, 7]);
  });

  it("refuses labels that do not fit", () => {
    const x = input("x", "float32", [2, 5, 7]);
    expect(() => crossEntropy(x, input("labels", "int32", [2, 4]))).toThrow(ShapeError);
    expect(() => crossEntropy(x, input("labels", "float32", [2, 5]))).toThrow(DTypeError);
    expect(() => crossEntropy(x, input("labels", "int32", [2, 5]), { labelSmoothing: 1.5 })).toThrow(ArgumentError);
  });
});
