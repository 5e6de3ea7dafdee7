import { describe, expect, it } from "vitest";
import type { Outcome } from "./driver.js";
import type { RunReply, Task } from "./protocol.js";
import { disagreements, median, pairedRatio, rowsOf, table } from "./report.js";
import { matmulFlops, matmulShapes, modelFlops, small, tokensPerStep } from "./workloads.js";

/** An outcome whose repetitions are one step each and took so many seconds. */
function outcome(
  by: string,
  library: string,
  seconds: number[],
  { task = "step" as Task, losses = [] as number[], precision = "fp32" as "fp32" | "bf16" } = {},
): Outcome {
  const run = (each: number, i: number): RunReply => ({
    seconds: each,
    tokens: tokensPerStep(small),
    peakMemoryBytes: 1,
    ...(losses[i] !== undefined && { loss: losses[i] }),
    ...(library === "tsumiki" && { overheadSeconds: each / 50 }),
  });
  const matmul = task === "matmul" ? matmulShapes(small) : [];
  return {
    competitor: {
      by,
      library,
      script: "",
      config: { task, mode: "", precision, threads: 1, workload: small, matmulShapes: matmul },
      stepsPerRepetition: 1,
    },
    ready: { compileSeconds: 1, firstStepSeconds: 2, parameters: 800_000, versions: {} },
    warmups: [],
    runs: seconds.map(run),
    validations: [],
    peakMemoryBytes: 5,
  };
}

describe("rowsOf", () => {
  const group = [
    outcome("tsumiki/onnxruntime", "tsumiki", [1, 2, 4]),
    outcome("tsumiki/onnxruntime", "tsumiki", [0.5, 1, 2], { task: "matmul" }),
    outcome("pytorch", "pytorch", [2, 3, 12]),
  ];
  const [tsumiki, pytorch] = rowsOf(group, "training");

  it("has a row a training competitor with medians and model FLOPs", () => {
    expect(rowsOf(group, "training").map(({ by }) => by)).toEqual(["tsumiki/onnxruntime", "pytorch"]);
    expect(tsumiki?.tokensPerSecond).toBe(tokensPerStep(small) / 2);
    expect(tsumiki?.gflops).toBeCloseTo(modelFlops(small, 800_000) / 2 / 1e9, 9);
    expect(tsumiki?.overheadShare).toBeCloseTo(0.02, 12);
    expect(pytorch?.overheadShare).toBeNull();
  });

  it("compares pair by pair, not median with median", () => {
    expect(pytorch?.tsumikiRatio).toBe(2); // 2/1, 3/2, 12/4
    expect(tsumiki?.tsumikiRatio).toBeNull();
  });

  it("compares with the fastest of Tsumiki's engines in the same precision", () => {
    const several = [
      ...group,
      outcome("tsumiki/openvino", "tsumiki-openvino", [0.5, 1, 2]),
      outcome("tsumiki/openvino", "tsumiki-openvino", [0.25, 0.5, 1], { precision: "bf16" }),
      outcome("pytorch", "pytorch", [1, 2, 4], { precision: "bf16" }),
    ];
    expect(rowsOf(several, "training").map(({ tsumikiRatio }) => tsumikiRatio)).toEqual([null, 4, null, null, 4]);
  });

  it("relates model FLOPs to the same library's matrix products", () => {
    const products = matmulShapes(small).reduce((total, shape) => total + matmulFlops(shape), 0);
    expect(tsumiki?.matmulShare).toBeCloseTo(modelFlops(small, 800_000) / products / 2, 9);
    expect(pytorch?.matmulShare).toBeNull();
  });

  it("shows matrix products themselves where nothing trains", () => {
    const [row] = rowsOf(group, "products");
    expect(row?.gflops).toBeGreaterThan(0);
    expect(row?.matmulShare).toBeNull();
  });

  it("prints every row of the table with as many cells as the header", () => {
    const lines = table(rowsOf(group, "training")).split("\n");
    expect(new Set(lines.map((line) => line.split("|").length)).size).toBe(1);
    expect(lines.length).toBe(4);
  });
});

describe("disagreements", () => {
  it("accepts losses that agree and reports those that do not", () => {
    const ours = outcome("tsumiki/onnxruntime", "tsumiki", [1, 1], { losses: [4, 3] });
    expect(disagreements([ours, outcome("pytorch", "pytorch", [1, 1], { losses: [4.001, 3.001] })])).toEqual([]);
    const [warning] = disagreements([ours, outcome("pytorch", "pytorch", [1, 1], { losses: [4, 3.5] })]);
    expect(warning).toContain("after 2 steps");
  });
});

describe("statistics", () => {
  it("takes the middle", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(pairedRatio([2, 9], [1, 3, 5])).toBe(2.5);
  });
});
