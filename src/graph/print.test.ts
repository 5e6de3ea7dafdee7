import { describe, expect, it } from "vitest";
import { subDims, symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { constant, input, random } from "./leaves.js";
import { add, cast, matmul, mul, slice, split, sum, tanh } from "./ops/index.js";
import { printGraph } from "./print.js";
import { scan } from "./scan.js";
import { runTrace, withScope } from "./trace.js";
import { Parameter } from "./variable.js";

const lines = (...text: readonly string[]): string => text.join("\n");

const weight = new Parameter([16, 8], { name: "layers.0.mlp.upProj.weight" });

describe("printGraph", () => {
  it("prints inputs, one line an operation, results", () => {
    const x = input("x", "float32", [symbol("batch"), symbol("seq"), 8]);
    const y = withScope("layers.0.mlp", () => tanh(matmul(x, weight, { transposeB: true })));
    const graph = {
      inputs: new Map([
        ["feed:x", x],
        ["variable:0", weight],
      ]),
      outputs: new Map([
        ["hidden", y],
        ["last", slice(y, 1, -1)],
      ]),
    };
    expect(printGraph(graph)).toBe(
      lines(
        "input x [batch, seq, 8] float32",
        "variable layers.0.mlp.upProj.weight [16, 8] float32",
        "%0 [batch, seq, 16] float32 = matmul(x, layers.0.mlp.upProj.weight, transposeB)  # layers.0.mlp",
        "%1 [batch, seq, 16] float32 = tanh(%0)  # layers.0.mlp",
        "%2 [batch, 1, 16] float32 = slice(%1, axis=1, start=seq - 1, size=1, step=1)",
        "return hidden = %1",
        "return last = %2",
      ),
    );
  });

  it("prints a tensor or several, finding the inputs itself", () => {
    const x = input("x", "int64", [2]);
    expect(printGraph(add(x, x))).toBe(lines("input x [2] int64", "%0 [2] int64 = add(x, x)", "return %0"));
    expect(printGraph([x, add(x, x)])).toBe(
      lines("input x [2] int64", "%0 [2] int64 = add(x, x)", "return 0 = x", "return 1 = %0"),
    );
  });

  it("prints equal graphs equally, however many were made before", () => {
    const build = () => {
      const x = input("x", "float32", [3]);
      return grad(sum(mul(tanh(x), x)), [x]);
    };
    expect(printGraph(build())).toBe(printGraph(build()));
  });

  it("writes short constants out and cuts long ones", () => {
    const x = input("x", "float32", [2, 3]);
    const long = constant([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const text = printGraph(add(add(mul(x, 1 / 3), constant([1, 0.5, -2])), long));
    expect(text).toContain("mul(x, 0.333333)");
    expect(text).toContain("add(%0, float32[3](1, 0.5, -2))");
    expect(text).toContain("add(%1, float32[2, 3](1, 2, 3, 4, …))");
  });

  it("shows noise with its distribution and results that nothing reads", () => {
    const text = runTrace({ training: true, fetch: [] }, () => {
      const x = input("x", "float32", [4]);
      const [first] = split(mul(x, cast(random.bernoulli([4], 0.9), "float32")), 2, 0);
      return printGraph(first as NonNullable<typeof first>);
    }).result;
    expect(text).toBe(
      lines(
        "input x [4] float32",
        "noise bernoulli [4] bool = bernoulli(0.9)",
        "%0 [4] float32 = cast(bernoulli, dtype=float32)",
        "%1 [4] float32 = mul(x, %0)",
        "%2 [2] float32, _ = split(%1, sizes=[2, 2], axis=0)",
        "return %2",
      ),
    );
  });

  it("tells variables of the same name apart", () => {
    const [a, b] = [new Parameter([1], { name: "weight" }), new Parameter([1], { name: "weight" })];
    expect(printGraph(add(a, b))).toBe(
      lines(
        "variable weight [1] float32",
        "variable weight#2 [1] float32",
        "%0 [1] float32 = add(weight, weight#2)",
        "return %0",
      ),
    );
  });

  it("prints the body of a loop below it", () => {
    const x = input("x", "float32", [symbol("steps"), 2]);
    const decay = input("decay", "float32", []);
    const { carry, outputs } = scan(
      ([state], [element]) => {
        const next = add(mul(state, decay), element);
        return { carry: [next], outputs: [mul(next, 2)] };
      },
      { carry: [constant([0, 0])], sequences: [x], reverse: true },
    );
    expect(printGraph([carry[0], outputs[0]])).toBe(
      lines(
        "input x [steps, 2] float32",
        "input decay [] float32",
        "%0 [2] float32, %1 [steps, 2] float32, _ = scan(float32[2](0, 0), x, decay, reverse)",
        "  carry %2 [2] float32",
        "  element %3 [2] float32",
        "  captured %4 [] float32",
        "  %5 [2] float32 = mul(%2, %4)",
        "  %6 [2] float32 = add(%5, %3)",
        "  %7 [2] float32 = mul(%6, 2)",
        "  carry on %6; give %7",
        "return 0 = %0",
        "return 1 = %1",
      ),
    );
  });

  it("writes dimensions in attributes", () => {
    const x = input("x", "float32", [symbol("seq")]);
    expect(printGraph(slice(x, 0, 1))).toContain(`slice(x, axis=0, start=1, size=${subDims(x.size(0), 1)}, step=1)`);
  });
});
