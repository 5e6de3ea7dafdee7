import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { modelSource } from "../engine/model-source.js";
import { cpuLowering } from "../engine/onnxruntime/lowering-cpu.js";
import { sessionOptions } from "../engine/onnxruntime/node.js";
import { allocate } from "../graph/dtype.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { constantOp } from "../graph/leaves.js";
import type { Tensor } from "../graph/tensor.js";
import { modelFromConfig } from "../models/architectures.js";
import { onnxRuntimePlan } from "./onnxruntime-plan.js";
import { peakBytes } from "./planned-buffer.js";
import { stepGraph } from "./training-process.js";

/** The most bytes that ONNX Runtime itself says that values of a run ask for, outputs left out. */
async function measuredPeak(graph: Graph): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-plan-"));
  try {
    const leaves = nodesOf(graph.outputs.values()).filter(({ op }) => op.leaf && op !== constantOp);
    const inputs = new Map(leaves.map(({ outputs: [leaf] }, i) => [`leaf${i}`, leaf as Tensor]));
    const source = modelSource({ lowering: cpuLowering }, { inputs, outputs: graph.outputs });
    const profile = { enableProfiling: true, profileFilePrefix: join(folder, "run") };
    const session = await ort.InferenceSession.create(source.onnx(), { ...sessionOptions("cpu", 1), ...profile });
    const zeros = (tensors: ReadonlyMap<string, Tensor>) =>
      Object.fromEntries(
        [...tensors].map(([name, { dtype, shape }]) => {
          const sizes = shape as readonly number[];
          return [name, new ort.Tensor(dtype as ort.Tensor.Type, allocate(dtype, elementCount(sizes)) as never, sizes)];
        }),
      );
    await session.run(zeros(inputs), zeros(graph.outputs));
    session.endProfiling();
    await session.release();
    const [file] = await readdir(folder);
    const events: readonly { readonly cat: string; readonly args?: Readonly<Record<string, string>> }[] = JSON.parse(
      await readFile(join(folder, file as string), "utf8"),
    );
    return Math.max(...events.map(({ args }) => Number(args?.mem_bytes_requested_in_use ?? 0)));
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("the plan of ONNX Runtime", () => {
  const config = {
    model_type: "llama",
    ...{ vocab_size: 600, hidden_size: 64, intermediate_size: 176, num_hidden_layers: 2, num_attention_heads: 4 },
    ...{ max_position_embeddings: 1024, tie_word_embeddings: true },
  };
  it.each([
    ["", config, { batch: 2, context: 640 }],
    [", one sequence", config, { batch: 1, context: 900 }],
    [", grouped queries", { ...config, num_key_value_heads: 2 }, { batch: 2, context: 400 }],
    [", a window", { ...config, model_type: "mistral", sliding_window: 200 }, { batch: 1, context: 1024 }],
    [", layers recomputed", config, { batch: 2, context: 400 }, true],
  ])("holds as much as ONNX Runtime does in a training step%s", async (_, sizes, step, recompute = false) => {
    const graph = stepGraph(modelFromConfig(sizes, undefined, "causal-lm"), step, recompute);
    const { buffers, order } = onnxRuntimePlan(graph);
    const ratio = peakBytes(buffers, order.length) / (await measuredPeak(graph));
    expect(ratio).toBeGreaterThan(0.97);
    expect(ratio).toBeLessThan(1.03);
  });
});
