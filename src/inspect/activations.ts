/**
 * Memory of the values between weights and loss: what the backward pass still needs, counted on the graphs that are really run.
 *
 * A deep model is a shallow one with more of the same, so models of one and of two layers are traced, and the difference is
 * counted for each further layer.
 */

import { ArgumentError, TsumikiError } from "../errors.js";
import { grad } from "../graph/gradient.js";
import type { Graph } from "../graph/graph.js";
import { input } from "../graph/leaves.js";
import type { Tensor } from "../graph/tensor.js";
import { runTrace } from "../graph/trace.js";
import { type HuggingFaceConfig, modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { optimize } from "../onnx/passes/index.js";
import type { DecoderGeometry } from "./geometry.js";
import { liveBytes } from "./live-bytes.js";

export interface Activations {
  /** The most bytes alive at once in a training step, gradients of parameters not counted. */
  readonly plainBytes: number;
  /** The same where each layer keeps only its input and is computed again in the backward pass (Chen et al. 2016). */
  readonly recomputedBytes: number;
}

export interface Sizes {
  readonly batch: number;
  readonly context: number;
}

/** Activations of a training step in float32. */
export function trainingActivations(config: HuggingFaceConfig, geometry: DecoderGeometry, sizes: Sizes): Activations {
  const { layers, hiddenSize } = geometry;
  const one = stepBytes(withLayers(config, 1), geometry, sizes);
  const layer = layers > 1 ? stepBytes(withLayers(config, 2), geometry, sizes) - one : 0;
  const layerInput = sizes.batch * sizes.context * hiddenSize * 4;
  return { plainBytes: one + (layers - 1) * layer, recomputedBytes: one + (layers - 1) * Math.min(layer, layerInput) };
}

/** The most bytes alive at once while a model reads `context` tokens, its cache not counted, in float32. */
export function prefillActivations(config: HuggingFaceConfig, geometry: DecoderGeometry, sizes: Sizes): number {
  const shallow = withLayers(config, Math.min(geometry.layers, 2));
  // Prompts are read by a program for all sizes, whose attention is whole: so it is counted.
  const graph = traced(shallow, sizes, { training: false, fetch: ["**.weights"] }, (model, ids) => ({
    logits: model.nextTokenLogits(ids),
  }));
  return liveBytes(optimize(graph), { kept: new Set(), unknownSize: expertRows(geometry, sizes) }).peak;
}

function stepBytes(config: HuggingFaceConfig, geometry: DecoderGeometry, sizes: Sizes): number {
  const graph = traced(config, sizes, { training: true }, (model, ids, labels) => {
    const loss = model.loss(ids, labels);
    const gradients = grad(loss, [...model.parameters().values()]);
    return { loss, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])) };
  });
  const optimized = optimize(graph);
  const kept = new Set([...optimized.outputs].flatMap(([name, tensor]) => (name === "loss" ? [] : [tensor])));
  return liveBytes(optimized, { kept, unknownSize: expertRows(geometry, sizes) }).peak;
}

/** Rows that an expert computes where the router spreads the tokens evenly. */
const expertRows = ({ experts, expertsPerToken }: DecoderGeometry, { batch, context }: Sizes): number =>
  Math.ceil((batch * context * expertsPerToken) / experts);

function traced(
  config: HuggingFaceConfig,
  { batch, context }: Sizes,
  { training, fetch = [] }: { readonly training: boolean; readonly fetch?: readonly string[] },
  outputs: (model: CausalLM, ids: Tensor, labels: Tensor) => Readonly<Record<string, Tensor>>,
): Graph {
  const model = modelFromConfig(config, undefined, "causal-lm");
  const ids = input("ids", "int32", [batch, context]);
  const labels = input("labels", "int32", [batch, context]);
  const { result } = runTrace({ training, fetch }, () => outputs(model, ids, labels));
  return {
    inputs: new Map([
      ["ids", ids],
      ["labels", labels],
    ]),
    outputs: new Map(Object.entries(result)),
  };
}

/** The configuration of a model with fewer layers. */
export function withLayers(config: HuggingFaceConfig, layers: number): HuggingFaceConfig {
  const names = ["num_hidden_layers", "n_layer", "num_layers"].filter((name) => name in config);
  const types = Array.isArray(config.layer_types) ? { layer_types: config.layer_types.slice(-layers) } : {};
  return { ...config, ...types, ...Object.fromEntries(names.map((name) => [name, layers])) };
}

/** @throws ArgumentError for sizes that are not whole numbers from 1, or a context that the model cannot look at */
export function checkSizes({ batch, context }: Sizes, contextLength: number): void {
  for (const [name, size] of Object.entries({ batch, context }))
    if (!Number.isInteger(size) || size < 1) throw new ArgumentError(`${name} is ${size}, but it must be a whole number from 1.`);
  if (context > contextLength)
    throw new TsumikiError("ARGUMENT", `The context is ${context}, but the model can look at ${contextLength} positions.`);
}
