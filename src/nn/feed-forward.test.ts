import { describe, expect, it } from "vitest";
import { vectorJacobian } from "../graph/gradient.js";
import { input, nodesOf, type Shape, symbol } from "../graph/index.js";
import { runTrace } from "../graph/trace.js";
import { SwiGLU } from "./feed-forward.js";

describe("a gated block", () => {
  it.each<[string, Shape, boolean]>([
    ["keeps what is small", [64, 8], false],
    ["computes what is wide again in the backward pass", [2 ** 15, 8], true],
    ["computes again what may be wide", [symbol("rows"), 8], true],
  ])("%s", (_, shape, again) => {
    const { result } = runTrace({ training: true, fetch: [] }, () => {
      const [x, dy] = [input("x", "float32", shape), input("dy", "float32", shape)];
      return vectorJacobian([new SwiGLU(8, 32).forward(x)], [dy], [x]);
    });
    const operators = nodesOf(result).map(({ op }) => op.name);
    expect(operators.includes("waitFor")).toBe(again);
  });
});
