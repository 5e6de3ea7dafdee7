import { describe, expect, it } from "vitest";
import * as graph from "./index.js";
import { constant, input, printGraph, Tensor, Variable } from "./index.js";
import { numbersOf } from "./testing/values.js";

const x = input("x", "float32", [2, 3]);
const y = input("y", "float32", [2, 3]);
const square = input("square", "float32", [3, 3]);

/** How each method is called, with every optional argument given too. */
const calls: { readonly [K in keyof graph.TensorMethods]: readonly unknown[][] } = {
  add: [[y], [2]],
  sub: [[y], [2]],
  mul: [[y], [2]],
  div: [[y], [2]],
  pow: [[y], [2]],
  maximum: [[y], [0.5]],
  minimum: [[y], [0.5]],
  neg: [[]],
  square: [[]],
  sqrt: [[]],
  exp: [[]],
  log: [[]],
  sin: [[]],
  cos: [[]],
  tanh: [[]],
  sigmoid: [[]],
  matmul: [[square], [square, { transposeB: true }], [y, { transposeA: true }]],
  sum: [[], [{ axes: [1] }], [{ axes: [-1], keepDims: true }]],
  mean: [[], [{ axes: [0], keepDims: true }]],
  max: [[], [{ axes: [1] }]],
  min: [[], [{ axes: [1] }]],
  softmax: [[], [0]],
  reshape: [[[3, 2]], [[-1]]],
  transpose: [[], [[1, 0]]],
  slice: [
    [1, 1],
    [1, 0, 2],
    [1, 0, 3, 2],
  ],
  broadcastTo: [[[4, 2, 3]]],
  cast: [["int32"]],
};

describe("methods of tensors", () => {
  it.each(Object.entries(calls))("%s is the function of that name with the tensor as first argument", (name, argumentLists) => {
    const functions = graph as unknown as Readonly<Record<string, (...args: unknown[]) => Tensor>>;
    for (const args of argumentLists) {
      const method = (x as unknown as Readonly<Record<string, (...args: unknown[]) => Tensor>>)[name];
      const [called, expected] = [method?.apply(x, args) as Tensor, functions[name]?.(x, ...args) as Tensor];
      expect(called).toBeInstanceOf(Tensor);
      expect(printGraph(called)).toBe(printGraph(expected));
      expect(printGraph(called)).not.toBe(printGraph(x));
    }
  });

  it("are there for variables and constants, and can be chained", () => {
    const weight = new Variable([3], { name: "weight", initializer: () => Float32Array.of(1, 2, 3) });
    const result = weight
      .mul(2)
      .add(constant([1, 1, 1]))
      .sum()
      .neg();
    expect(numbersOf([result])).toEqual([[-15]]);
  });

  it("do not show when a tensor is looked at", () => {
    expect(Object.keys(x)).not.toContain("add");
    expect(Object.keys(Tensor.prototype)).toEqual([]);
  });
});
