import { describe, expect, it } from "vitest";
import { input } from "../src/graph/leaves.js";
import { add, exp, matmul, mul, slice, sum } from "../src/graph/ops/index.js";
import type { Tensor } from "../src/graph/tensor.js";
import { stepGraph } from "../src/inspect/index.js";
import { chosenWorkloads, predicted } from "./attention.js";
import { movedBytes } from "./moved-bytes.js";
import { makeModel } from "./peers/tsumiki-step.js";
import { cellCosts, productFlops, stepProducts } from "./predict.js";
import { attentionVariants, attentionWorkloads, type LlamaWorkload, matmulFlops, small } from "./workloads.js";

const narrow: LlamaWorkload = { ...small, layers: 1, hidden: 64, heads: 4, intermediate: 96, context: 1024, batch: 2 };
const flopsOf = (workload: LlamaWorkload) => stepProducts(workload).reduce((total, shape) => total + matmulFlops(shape), 0);

describe("the products that are predicted", () => {
  it.each([
    ["full", narrow],
    ["grouped-query", { ...narrow, kvHeads: 2 }],
    ["sliding-window", { ...narrow, window: 300 }],
    ["whole", { ...narrow, wholeAttention: true }],
    ["stretches of keys", { ...narrow, context: 3072, batch: 1 }],
    ["longer blocks", { ...narrow, context: 4096, batch: 1, window: 512 }],
  ])("are those of the step's graph: %s", (_, workload) => {
    expect(flopsOf(workload)).toBeCloseTo(productFlops(stepGraph(makeModel(workload), workload)), -3);
  });

  it("grow with a window only as far as it reaches", () => {
    const share = (sizes: Partial<LlamaWorkload>) =>
      flopsOf({ ...narrow, ...sizes }) / flopsOf({ ...narrow, ...sizes, context: 2048, batch: 1 });
    expect(share({ window: 128 })).toBeGreaterThan(0.95);
    expect(share({})).toBeLessThan(0.85);
  });
});

describe("the bytes that are moved", () => {
  const x = input("x", "float32", [64, 64]);
  const moved = (y: Tensor, engine: "onnxruntime" | "openvino") =>
    movedBytes({ inputs: new Map([["x", x]]), outputs: new Map([["y", y]]) }, engine) / (4 * 64 * 64);

  it("are those that an operator reads and writes", () => {
    expect(moved(add(matmul(x, x), x), "onnxruntime")).toBe(3);
    expect(moved(slice(x, 0, 0, 16), "onnxruntime")).toBe(0.5);
    expect(moved(mul(exp(add(x, x)), 2), "onnxruntime")).toBeCloseTo(2 + 2 + 2, 3);
  });

  it("stay inside a kernel of OpenVINO where nobody else reads them", () => {
    expect(moved(mul(exp(add(x, x)), 2), "openvino")).toBeCloseTo(2, 3);
    const shared = exp(x);
    expect(moved(add(shared, matmul(shared, x)), "openvino")).toBe(2 + 3);
    expect(moved(sum(exp(x), { axes: [1] }), "openvino")).toBeCloseTo(2 + 1, 1);
  });
});

describe("attention", () => {
  it("always has 8,192 tokens a step", () => {
    expect(attentionWorkloads.length).toBe(5 * Object.keys(attentionVariants).length);
    for (const { batch, context } of attentionWorkloads) expect(batch * context).toBe(8192);
  });

  it("is measured for single cells, and for the one that gives the constants", () => {
    expect(chosenWorkloads(["sliding-window-8192"]).map(({ name }) => name)).toEqual(["full-512", "sliding-window-8192"]);
    expect(() => chosenWorkloads(["full-512", "full-500"])).toThrow(/full-500; there are whole-512, /);
  });

  it("takes one constant from full attention at 512 tokens and predicts the others", () => {
    const cell = (name: string, otherBytes: number, products: number, step: number, memoryBytes: number, peak: number) => ({
      ...{ by: "tsumiki/onnxruntime", precision: "fp32" as const, workload: { ...narrow, name } },
      ...{ costs: { productFlops: 1, otherBytes, memoryBytes }, products: [products], steps: [step], peakMemoryBytes: peak },
    });
    // 1 s for 100 bytes beside 2 s of products: 200 bytes beside 4 s make 6 s.
    const rows = predicted([cell("full-512", 100, 2, 3, 1000, 1500), cell("full-1024", 200, 4, 5, 2000, 2000)]);
    expect(rows.map(({ predictedStepRatio }) => predictedStepRatio)).toEqual([1, 6 / 5]);
    expect(rows.map(({ predictedPeakMemoryBytes }) => predictedPeakMemoryBytes)).toEqual([1500, 2500]);
  });

  it("counts more memory for more keys, and less for fewer heads of keys", () => {
    const long = { ...narrow, context: 2048, batch: 1 };
    const memory = (workload: LlamaWorkload) => cellCosts(workload, "onnxruntime").memoryBytes;
    expect(memory({ ...long, window: 256 })).toBeLessThan(memory(long));
    expect(memory({ ...long, kvHeads: 1 })).toBeLessThan(memory({ ...long, kvHeads: 2 }));
  });
});
