/**
 * Every operator, forward and backward, on WebGPU with its lowering, against the reference. Where there is no graphics card,
 * Chromium's software Vulkan will do.
 */

import { describe, expect, it } from "vitest";
import "../../graph/index.js";
import { symbol } from "../../graph/dim.js";
import { input } from "../../graph/leaves.js";
import {
  cast,
  cos,
  exp,
  gather,
  logSoftmax,
  matmul,
  nonZero,
  pow,
  sign,
  sin,
  softmax,
  split,
  squeeze,
  sum,
} from "../../graph/ops/index.js";
import { concreteExample, type OpCase } from "../../graph/testing/cases.js";
import { describeOperators } from "../../graph/testing/describe-operators.js";
import { withScope } from "../../graph/trace.js";
import { operatorsOnCpu } from "../placement.js";
import { describeEngine } from "../testing/engine-contract.js";
import { float32, graphOf, runOnce } from "../testing/graphs.js";
import { webgpuEngine } from "../testing/webgpu.js";
import { onnxRuntimeNode } from "./node.js";

const engine = await webgpuEngine();

if (engine instanceof Error) {
  describe.skip(`ONNX Runtime's WebGPU, which is not here: ${engine.message}`, () => it("computes", () => {}));
} else {
  const x = input("x", "float32", [2]);
  const hasFloat16 = await runOnce(engine, graphOf({ x }, { y: cast(cast(x, "float16"), "float32") }), {
    x: float32([2], [1, 2]),
  }).then(
    () => true,
    () => false,
  );

  /** These end the process, or fail, when a symbolic size turns out to be 0 (docs/engines.md). */
  const takesNoEmpty = ["matmul", "softmax", "logSoftmax", "labelLogProbability"];
  const skip = (testCase: OpCase): boolean => {
    if (testCase.definition.name === "conv" && testCase.index === 5) return true; // its gradient, over three axes
    if (testCase.kind === "empty" && takesNoEmpty.includes(testCase.definition.name)) return true;
    return !hasFloat16 && concreteExample(testCase).attributes?.dtype === "float16";
  };
  describe("where WebGPU needs another way", () => {
    it("multiplies matrices without elements, and takes their softmax", async () => {
      const a = input("a", "float32", [0, 3]);
      const b = input("b", "float32", [3, 2]);
      const c = input("c", "float32", [2, 0]);
      const d = input("d", "float32", [0, 2]);
      const results = await runOnce(
        engine,
        graphOf({ a, b, c, d }, { empty: matmul(a, b), zeros: matmul(c, d), soft: softmax(c), logSoft: logSoftmax(c) }),
        { a: float32([0, 3], []), b: float32([3, 2], [1, 2, 3, 4, 5, 6]), c: float32([2, 0], []), d: float32([0, 2], []) },
      );
      expect(results).toEqual({
        empty: float32([0, 2], []),
        zeros: float32([2, 2], [0, 0, 0, 0]),
        soft: float32([2, 0], []),
        logSoft: float32([2, 0], []),
      });
    });

    it("multiplies matrices whose rows the data decides about, also when there are none", async () => {
      const mask = input("mask", "bool", [4]);
      const a = input("a", "float32", [4, 2]);
      const chosen = gather(a, squeeze(nonZero(mask), 0)); // [count, 2]
      const graph = graphOf(
        { mask, a },
        {
          product: matmul(chosen, a, { transposeB: true }),
          inner: matmul(chosen, chosen, { transposeA: true }),
          both: matmul(chosen, chosen, { transposeB: true, scale: 2 }),
        },
      );
      const feeds = (flags: readonly number[]) => ({
        mask: { dtype: "bool" as const, shape: [4], data: Uint8Array.from(flags) },
        a: float32([4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
      });
      expect(await runOnce(engine, graph, feeds([0, 0, 0, 0]))).toEqual({
        product: float32([0, 4], []),
        inner: float32([2, 2], [0, 0, 0, 0]),
        both: float32([0, 0], []),
      });
      expect(await runOnce(engine, graph, feeds([0, 1, 0, 1]))).toEqual({
        product: float32([2, 4], [11, 25, 39, 53, 23, 53, 83, 113]),
        inner: float32([2, 2], [58, 68, 68, 80]),
        both: float32([2, 2], [50, 106, 106, 226]),
      });
    });

    it("splits into more parts than a shader has buffers", async () => {
      const sizes = Array.from({ length: 60 }, (_, i) => 1 + (i % 3));
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const whole = input("whole", "float32", [2, total]);
      const parts = split(whole, sizes, 1);
      const values = Array.from({ length: 2 * total }, (_, i) => i);
      const results = await runOnce(engine, graphOf({ whole }, Object.fromEntries(parts.map((part, i) => [`p${i}`, part]))), {
        whole: float32([2, total], values),
      });
      let start = 0;
      for (const [i, size] of sizes.entries()) {
        const row = (first: number) => values.slice(first, first + size);
        expect(results[`p${i}`]).toEqual(float32([2, size], [...row(start), ...row(total + start)]));
        start += size;
      }
    });

    it("raises to powers that broadcast four elements at once", async () => {
      const a = input("a", "float32", [symbol("rows"), 4]);
      const b = input("b", "float32", [a.size(0), 1]);
      const { y } = await runOnce(engine, graphOf({ a, b }, { y: pow(a, b) }), {
        a: float32([2, 4], [1, 2, 3, 4, 1, 2, 3, 4]),
        b: float32([2, 1], [1, 2]),
      });
      expect(Array.from(y?.data as Float32Array, Math.round)).toEqual([1, 2, 3, 4, 1, 4, 9, 16]);
    });

    it("tells which operators it computes on the CPU", async () => {
      const a = input("a", "float32", [2, 4]);
      const inputs = new Map([["a", float32([2, 4], [1, 2, 3, 4, 5, 6, 7, 8])]]);
      const onCpu = withScope("layers.1", () => sum(cast(exp(a), "float64")));
      expect(await operatorsOnCpu(graphOf({ a }, { onCpu, here: sin(a) }), inputs, "webgpu")).toEqual([
        { operator: "cast", module: "layers.1", onnxOperator: "Cast" },
        { operator: "sum", module: "layers.1", onnxOperator: "ReduceSum" },
      ]);
      // What a training step is made of stays on the device.
      const step = {
        soft: softmax(a),
        logSoft: logSoftmax(a),
        product: matmul(a, a, { transposeB: true }),
        angle: cos(a),
        sign: sign(a),
      };
      expect(await operatorsOnCpu(graphOf({ a }, step), inputs, "webgpu")).toEqual([]);
    });

    it("has sines and cosines of angles far from 0", async () => {
      const a = input("a", "float32", [1001]);
      const angles = float32(
        [1001],
        Array.from({ length: 1001 }, (_, i) => (i - 500) * 20.01),
      );
      const results = await runOnce(engine, graphOf({ a }, { sine: sin(a), cosine: cos(a) }), { a: angles });
      for (const [name, definition] of [
        ["sine", Math.sin],
        ["cosine", Math.cos],
      ] as const) {
        const errors = Array.from(results[name]?.data as Float32Array, (value, i) =>
          Math.abs(value - definition(angles.data[i] as number)),
        );
        expect(Math.max(...errors), name).toBeLessThan(1e-6);
      }
    });
  });

  describeEngine("onnxruntime-node on WebGPU", () => onnxRuntimeNode({ device: "webgpu" }), { computesFloat16: hasFloat16 });

  describeOperators("ONNX Runtime's WebGPU", async () => engine, { skip });
}
