import { describe, expect, it } from "vitest";
import { stepGraph } from "../src/inspect/index.js";
import { predicted } from "./attention.js";
import { makeModel } from "./peers/tsumiki-step.js";
import { attentionBlocks, cellCosts, productFlops, stepProducts } from "./predict.js";
import { attentionVariants, attentionWorkloads, type LlamaWorkload, matmulFlops, small } from "./workloads.js";

const narrow: LlamaWorkload = { ...small, layers: 1, hidden: 64, heads: 4, intermediate: 96, context: 1024, batch: 2 };
const flopsOf = (workload: LlamaWorkload) => stepProducts(workload).reduce((total, shape) => total + matmulFlops(shape), 0);

describe("the products that are predicted", () => {
  it.each([
    ["full", narrow],
    ["grouped-query", { ...narrow, kvHeads: 2 }],
    ["sliding-window", { ...narrow, window: 300 }],
    ["longer blocks", { ...narrow, context: 4096, batch: 1, window: 512 }],
  ])("are those of the step's graph: %s", (_, workload) => {
    expect(flopsOf(workload)).toBeCloseTo(productFlops(stepGraph(makeModel(workload), workload)), -3);
  });

  it("grow with a window of 512 only as far as it reaches", () => {
    const keys = (context: number) => attentionBlocks({ ...narrow, context, window: 512 }).map((block) => block.keys);
    expect(Math.max(...keys(2048))).toBe(128 + 512);
    expect(Math.max(...keys(8192))).toBe(512 + 512);
    expect(Math.max(...attentionBlocks({ ...narrow, context: 8192 }).map((block) => block.keys))).toBe(8192);
  });
});

describe("attention", () => {
  it("always has 8,192 tokens a step", () => {
    expect(attentionWorkloads.length).toBe(5 * Object.keys(attentionVariants).length);
    for (const { batch, context } of attentionWorkloads) expect(batch * context).toBe(8192);
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
    expect(memory({ ...long, kvHeads: 1 })).toBeLessThan(memory(long));
  });
});
