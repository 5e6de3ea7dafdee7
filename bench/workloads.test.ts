import { describe, expect, it } from "vitest";
import {
  batchOfStep,
  DISTINCT_BATCHES,
  hash,
  llamaParameterCount,
  llamaParameters,
  matmulFlops,
  matmulShapes,
  modelFlops,
  nanoGpt,
  nanoGptLearningRate,
  nanoGptParameterCount,
  pocket,
  small,
  startingValues,
  tokensPerStep,
  train,
  trainScaled,
  trainTiny,
} from "./workloads.js";

const llamas = [train, trainScaled, trainTiny, small, pocket];

describe("sizes", () => {
  it("has the parameter counts that PyTorch and transformers count for these models", () => {
    expect(llamaParameterCount(train)).toBe(28_975_616);
    expect(llamaParameterCount(small)).toBe(800_000);
    expect(nanoGptParameterCount(nanoGpt, 89)).toBe(807_168);
  });

  it("divides a nanoGPT training into whole repetitions", () => {
    expect(nanoGpt.steps % nanoGpt.stepsPerRepetition).toBe(0);
  });
});

describe("FLOPs", () => {
  it.each(llamas)("counts in the matrix products of $name what 6·N + 12·L·T·D says, vectors aside", (workload) => {
    const products = matmulShapes(workload).reduce((total, shape) => total + matmulFlops(shape), 0);
    const vectors = llamaParameters(workload).reduce(
      (total, { shape }) => total + (shape.length === 1 ? (shape[0] as number) : 0),
      0,
    );
    expect(products).toBe(modelFlops(workload, llamaParameterCount(workload) - vectors));
  });

  it.each(llamas)("gives both gradients of each product of $name as many FLOPs as the product itself", (workload) => {
    const shapes = matmulShapes(workload);
    for (let i = 0; i < shapes.length; i += 3) {
      const [forward, ofA, ofB] = shapes.slice(i, i + 3).map(matmulFlops);
      expect([ofA, ofB]).toEqual([forward, forward]);
    }
  });
});

describe("learning rate of nanoGPT", () => {
  it("warms up to the peak and ends at the minimum", () => {
    expect(nanoGptLearningRate(nanoGpt, 0)).toBeCloseTo(1e-3 / 101, 12);
    expect(nanoGptLearningRate(nanoGpt, 100)).toBeCloseTo(1e-3, 12);
    expect(nanoGptLearningRate(nanoGpt, 1050)).toBeCloseTo(5.5e-4, 12);
    expect(nanoGptLearningRate(nanoGpt, 2000)).toBeCloseTo(1e-4, 12);
  });
});

describe("starting values and batches", () => {
  // The numbers that bench/peers/pytorch_models.py gives.
  it("hashes as the Python side does", () => {
    expect([hash(0, 0), hash(0, 1), hash(7, 123_456), hash(1_000_000, 5)]).toEqual([
      1684164658, 3950124170, 2345661949, 3458276227,
    ]);
  });

  it("gives weights a standard deviation of 0.02 and norms ones", () => {
    const values = startingValues(3, [100, 200]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(0, 3);
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 3);
    expect(startingValues(0, [4])).toEqual(new Float32Array(4).fill(1));
  });

  it("makes labels the next token, of which there are four for each token", () => {
    const { ids, labels } = batchOfStep(small, 0);
    expect(ids.length).toBe(tokensPerStep(small));
    const successors = new Map<number, Set<number>>();
    ids.forEach((id, i) => {
      if ((i + 1) % small.context !== 0) expect(labels[i]).toBe(ids[i + 1]);
      const after = successors.get(id) ?? new Set();
      successors.set(id, after.add(labels[i] as number));
    });
    for (const after of successors.values()) expect(after.size).toBeLessThanOrEqual(4);
  });

  it("repeats its batches after a while, and not before", () => {
    expect(batchOfStep(small, DISTINCT_BATCHES)).toEqual(batchOfStep(small, 0));
    expect(batchOfStep(small, 1)).not.toEqual(batchOfStep(small, 0));
  });
});
