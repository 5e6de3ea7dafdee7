/** The memory of a process that trains a model: what `inspectModel` counts, and what the engine and Node hold besides. */

import { cpuLowering } from "../engine/onnxruntime/lowering-cpu.js";
import { openVinoLowering } from "../engine/openvino/lowering.js";
import { checkpoint } from "../graph/checkpoint.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import type { Tensor } from "../graph/tensor.js";
import { runTrace } from "../graph/trace.js";
import { Variable } from "../graph/variable.js";
import { type HuggingFaceConfig, modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Module } from "../nn/module.js";
import { optimize } from "../onnx/passes/index.js";
import { AdamW } from "../optim/adamw.js";
import { splitUpdates } from "../program/split-updates.js";
import { type Sizes, withLayers } from "./activations.js";
import { type EngineMemory, type EngineName, engineMemory } from "./engine-memory.js";
import type { DecoderGeometry } from "./geometry.js";

/** Deeper models are counted with so many layers, and the last layer's share for each further one. */
const MOST_LAYERS = 4;

const passesOf = { onnxruntime: cpuLowering.passes, openvino: openVinoLowering.passes } as const;

/** A graph as an engine gets it. */
export const lowered = (graph: Graph, engine: EngineName): Graph =>
  passesOf[engine].reduce((current, pass) => pass(current), graph);

/** What a step of AdamW in float32 holds besides weights, optimizer state and their second buffers. */
export function stepMemory(
  config: HuggingFaceConfig,
  geometry: DecoderGeometry,
  sizes: Sizes,
  { engine, recompute, inPlace }: { readonly engine: EngineName; readonly recompute: boolean; readonly inPlace: boolean },
): EngineMemory {
  const unknownSize = Math.ceil((sizes.batch * sizes.context * geometry.expertsPerToken) / geometry.experts);
  const memoryOf = (layers: number): EngineMemory & { readonly gradientBytes: number } => {
    const model = modelFromConfig(withLayers(config, layers), undefined, "causal-lm");
    const gradientBytes = [...model.parameters().values()].reduce((total, { shape }) => total + 4 * elementCount(shape), 0);
    const step = trainingStep(model, sizes, { recompute, inPlace });
    const split = inPlace ? splitUpdates(step, step.graph, { leastBytes: 0, mostElements: Number.POSITIVE_INFINITY }) : undefined;
    const { workingBytes, programBytes } = engineMemory(lowered(split?.first ?? step.graph, engine), engine, unknownSize);
    // What the second run takes besides the gradients is small, and comes when the first has ended.
    return { workingBytes: workingBytes + (split ? gradientBytes : 0), programBytes, gradientBytes };
  };
  const { layers } = geometry;
  const counted = memoryOf(Math.min(layers, MOST_LAYERS));
  if (layers <= MOST_LAYERS) return counted;
  const fewer = memoryOf(MOST_LAYERS - 1);
  const perLayer = (key: keyof typeof fewer) => counted[key] - fewer[key];
  const further = layers - MOST_LAYERS;
  return {
    // With few layers the most may be needed at the loss; with many all gradients are there at the end.
    workingBytes: counted.workingBytes + further * Math.max(perLayer("workingBytes"), perLayer("gradientBytes")),
    programBytes: counted.programBytes + further * perLayer("programBytes"),
  };
}

/** The training step that people run: loss, gradients, clipping, AdamW. */
export const stepGraph = (model: CausalLM, sizes: Sizes, recompute = false): Graph =>
  trainingStep(model, sizes, { recompute, inPlace: false }).graph;

/** @param inPlace the step of a model so large that parameters are updated one by one, and in place */
function trainingStep(
  model: CausalLM,
  { batch, context }: Sizes,
  { recompute, inPlace }: { readonly recompute: boolean; readonly inPlace: boolean },
): { readonly graph: Graph; readonly updates: ReadonlyMap<string, Variable> } {
  if (recompute) recomputeLayers(model);
  const optimizer = new AdamW(model, inPlace ? { flat: false } : {});
  const ids = input("ids", "int32", [batch, context]);
  const labels = input("labels", "int32", [batch, context]);
  const { result, trace } = runTrace({ training: true, fetch: [] }, () => {
    const loss = model.loss(ids, labels);
    optimizer.update(loss, { learningRate: 1e-3, clipNorm: 1 });
    return { loss };
  });
  const updates = [...trace.updates].map(([variable, value], i) => ({ name: `update:${i}:${variable.path}`, variable, value }));
  const outputs = new Map([["loss", result.loss], ...updates.map(({ name, value }) => [name, value] as const)]);
  const variables = nodesOf(outputs.values()).flatMap(({ outputs: [tensor] }) => (tensor instanceof Variable ? [tensor] : []));
  const inputs = new Map<string, Tensor>([
    ["ids", ids],
    ["labels", labels],
    ...variables.map((variable, i) => [`variable:${i}:${variable.path}`, variable] as const),
  ]);
  return {
    graph: optimize({ inputs, outputs }),
    updates: new Map(updates.map(({ name, variable }) => [name, variable])),
  };
}

/** From here on each layer keeps its input alone, and is computed again in the backward pass. */
export function recomputeLayers(model: CausalLM): void {
  for (const layers of Object.values(model))
    if (Array.isArray(layers))
      for (const layer of layers as (Module & { forward(...inputs: unknown[]): Tensor })[]) {
        const forward = layer.forward.bind(layer);
        layer.forward = (...inputs) => checkpoint(() => forward(...inputs));
      }
}
