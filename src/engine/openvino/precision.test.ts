/** What OpenVINO makes of a training step whose products are told in bfloat16. */

import { describe, expect, it } from "vitest";
import "../../graph/methods.js";
import { roundTo } from "../../graph/dtype.js";
import type { Graph } from "../../graph/graph.js";
import { elementCount, fromNumbers, type HostArray, toNumbers } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import { crossEntropy, gather, matmul, mul, rmsNorm, silu, softmax } from "../../graph/ops/index.js";
import { namedRandom } from "../../graph/random.js";
import type { Tensor } from "../../graph/tensor.js";
import { runTrace } from "../../graph/trace.js";
import { Parameter } from "../../graph/variable.js";
import { Module } from "../../nn/module.js";
import { optimize, type Precision } from "../../onnx/index.js";
import { AdamW } from "../../optim/index.js";
import { buildGraph } from "../../program/build.js";
import type { EngineBuffer } from "../engine.js";
import { modelSource } from "../model-source.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";
import { type RuntimePrecision, runtimePrecisions } from "./runtime-precisions.js";

const SIZE = 32;
const weight = (...shape: number[]) =>
  new Parameter(shape, {
    initializer: (sizes, { normal }) => Float32Array.from({ length: elementCount(sizes) }, () => normal() / 4),
  });

/** One head of attention, a norm, a gated block, logits: every kind of operator that training has. */
class Tiny extends Module {
  readonly embedding = weight(48, SIZE);
  readonly norm = weight(SIZE);
  readonly query = weight(SIZE, SIZE);
  readonly gate = weight(SIZE, SIZE);
  readonly up = weight(SIZE, SIZE);

  loss(ids: Tensor, labels: Tensor): Tensor {
    const x = gather(this.embedding, ids); // [64, SIZE]
    const normalized = rmsNorm(x, this.norm);
    const query = matmul(normalized, this.query);
    const h = x.add(matmul(softmax(matmul(query, normalized, { transposeB: true, scale: 0.125 })), query));
    const hidden = mul(silu(matmul(h, this.gate)), matmul(h, this.up));
    return crossEntropy(matmul(h.add(hidden), this.embedding, { transposeB: true }), labels);
  }
}

interface Step {
  readonly precisions: readonly RuntimePrecision[];
  readonly outputs: ReadonlyMap<string, HostArray>;
}

/** One training step from seeded weights, and what OpenVINO computed each operator in. */
async function trainingStep(precision: Precision): Promise<Step> {
  const model = new Tiny().initialize(1);
  const ids = input("ids", "int32", [64]);
  const labels = input("labels", "int32", [64]);
  const { result, trace } = runTrace({ training: true, fetch: [] }, () => {
    const loss = model.loss(ids, labels);
    new AdamW(model).update(loss, { learningRate: 1e-3, clipNorm: 1 });
    return { loss };
  });
  const leaves = new Map([
    ["ids", ids],
    ["labels", labels],
  ]);
  const graph = buildGraph(leaves, result, trace, []);
  const engine = await openVino({ threads: 1, profile: true });
  try {
    const loaded = await engine.load(modelSource(engine, optimize(graph, precision)));
    const { uniform } = namedRandom(2, "tokens");
    const inputs = new Map<string, EngineBuffer>();
    for (const [name, variable] of graph.variables) inputs.set(name, await engine.upload(await variable.read()));
    for (const name of graph.feeds.keys()) {
      const tokens = Array.from({ length: 64 }, () => Math.floor(uniform() * 48));
      inputs.set(name, await engine.upload(fromNumbers("int32", [64], tokens)));
    }
    const produced = await loaded.run(inputs, new Map(Array.from(graph.outputs.keys(), (name) => [name, undefined])));
    const outputs = new Map<string, HostArray>();
    for (const [name, buffer] of produced) outputs.set(name.split(":").at(-1) as string, await engine.read(buffer));
    return { precisions: runtimePrecisions(loaded), outputs };
  } finally {
    await engine.close();
  }
}

/** What this processor multiplies in when it is told bfloat16. */
async function precisionOfPlainProduct(): Promise<string | undefined> {
  const x = input("x", "float32", [8, 8]);
  const graph: Graph = { inputs: new Map([["x", x]]), outputs: new Map([["y", matmul(x, x)]]) };
  const engine = await openVino({ threads: 1, profile: true });
  const loaded = await engine.load(modelSource(engine, optimize(graph, "bf16")));
  await loaded.run(new Map([["x", await engine.allocate("float32", [8, 8])]]), new Map([["y", undefined]]));
  const product = runtimePrecisions(loaded).find(({ layerType }) => layerType === "MatMul");
  await engine.close();
  return product?.runtimePrecision;
}

const absent = await whyNoOpenVino();

describe.skipIf(absent !== undefined)(`bfloat16 on OpenVINO${absent === undefined ? "" : `, ${absent}`}`, () => {
  const precisionsOf = ({ precisions }: Step, layer: RegExp) =>
    precisions.filter(({ layerType }) => layer.test(layerType)).map(({ runtimePrecision }) => runtimePrecision);

  it("multiplies in bfloat16, and keeps softmax, norms, losses and all that is summed in float32", async () => {
    const [wide, narrow] = [await trainingStep("fp32"), await trainingStep("bf16")];
    const products = precisionsOf(narrow, /^(MatMul|FullyConnected)$/);
    expect(products.length).toBe(precisionsOf(wide, /^(MatMul|FullyConnected)$/).length);
    // Processors without the instructions compute in float32 whatever the model says.
    expect(new Set(products)).toEqual(new Set([await precisionOfPlainProduct()]));
    expect(new Set(precisionsOf(wide, /^(MatMul|FullyConnected)$/))).toEqual(new Set(["f32"]));
    for (const layer of [/^Softmax$/, /^RMS$/, /^Reduce/, /^LogSoftmax$/])
      expect(precisionsOf(narrow, layer).filter((precision) => precision !== "f32" && precision !== "i32")).toEqual([]);
    expect(precisionsOf(narrow, /^Softmax$/).length).toBeGreaterThan(0);
  });

  it("gives the loss and the weights of float32 up to rounding, and moments that are not rounded", async () => {
    const [wide, narrow] = [await trainingStep("fp32"), await trainingStep("bf16")];
    const numbers = ({ outputs }: Step, name: string) => toNumbers(outputs.get(name) as HostArray);
    expect(Math.abs((numbers(narrow, "loss")[0] as number) - (numbers(wide, "loss")[0] as number))).toBeLessThan(0.02);
    const names = [...narrow.outputs.keys()].filter((name) => name.startsWith("firstMoment"));
    expect(names.length).toBeGreaterThan(0);
    for (const name of [...names, ...names.map((each) => each.replace("first", "second"))]) {
      const [expected, values] = [numbers(wide, name), numbers(narrow, name)];
      const largest = Math.max(...expected.map(Math.abs));
      const difference = Math.max(...values.map((value, i) => Math.abs(value - (expected[i] as number))));
      expect(difference / largest, name).toBeLessThan(0.05);
      const rounded = values.filter((value) => value !== 0 && roundTo("bfloat16", value) === value).length;
      expect(rounded / values.length, name).toBeLessThan(0.2);
    }
  });
});
