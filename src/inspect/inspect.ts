/**
 * What a model costs, from its configuration alone: parameters, floating-point operations, memory. No weight is read or made.
 * The formulas stand in docs/inspect.md.
 */

import { ArgumentError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import { configOf, type HuggingFaceConfig, modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { leastBytesInPlace } from "../program/split-updates.js";
import { checkSizes, prefillActivations, trainingActivations } from "./activations.js";
import { type EngineName, engineNames } from "./engine-memory.js";
import { type DecoderGeometry, decoderGeometry } from "./geometry.js";
import { byModule, type ModuleParameters } from "./modules.js";
import { type OptimizerName, optimizerElements } from "./optimizer-state.js";
import { stepMemory } from "./training-process.js";

/** What weights and the cache are held in when the model is used. Training holds float32. */
export type InferenceDType = "float32" | "float16" | "bfloat16" | "int8" | "int4";

const bytesOf: Readonly<Record<InferenceDType, number>> = { float32: 4, float16: 2, bfloat16: 2, int8: 1, int4: 0.5 };

export const inferenceDTypes = Object.keys(bytesOf) as readonly InferenceDType[];

export interface InspectOptions {
  /** Sequences at once. Default 1. */
  readonly batch?: number;
  /** Tokens of a sequence: of a training example, or of prompt and answer together. Default: as many as the model can look at. */
  readonly context?: number;
  /** Of weights and cache when the model is used. Default "float32". Quantized weights have a 16-bit cache. */
  readonly dtype?: InferenceDType;
  /** Default "adamw". */
  readonly optimizer?: OptimizerName;
  /** Counts also what a training process holds in all with this engine, which takes some seconds. Default: not. */
  readonly engine?: EngineName;
}

/** Units are in the names: bytes, flops (a multiplication and an addition are two), flops per byte. */
export interface Inspection {
  readonly modelType: string;
  readonly batch: number;
  readonly context: number;
  readonly dtype: InferenceDType;
  readonly optimizer: OptimizerName;
  /** Shared ones once. */
  readonly parameters: number;
  /** Those that one token is multiplied with: without experts that do not compute it. */
  readonly activeParameters: number;
  readonly modules: readonly ModuleParameters[];
  readonly flops: {
    /** Products with weights, for one token. */
    readonly weightFlopsPerToken: number;
    /** Products of queries, keys and values, for one token: the mean over the positions of the context. */
    readonly attentionFlopsPerToken: number;
    readonly forwardFlopsPerToken: number;
    /** Forward, and backward at twice that. */
    readonly trainingFlopsPerToken: number;
    /** The forward pass of the layers runs twice. */
    readonly trainingFlopsPerTokenRecomputed: number;
  };
  readonly training: {
    readonly weightBytes: number;
    readonly gradientBytes: number;
    readonly optimizerStateBytes: number;
    /**
     * New values of weights and states are written beside the old ones, which they replace when a step has succeeded. From 64 MiB of both
     * on they are written over the old ones, and this is 0, except with OpenVINO.
     */
    readonly secondBufferBytes: number;
    readonly activationBytes: number;
    readonly activationBytesRecomputed: number;
    readonly totalBytes: number;
    readonly totalBytesRecomputed: number;
    /** With `engine`: all that the process holds, which is more than what is alive; see docs/inspect.md. */
    readonly processBytes?: number;
    readonly processBytesRecomputed?: number;
  };
  readonly inference: {
    readonly weightBytes: number;
    readonly kvCacheBytes: number;
    readonly kvCacheBytesPerToken: number;
    /** The most that is alive while the prompt is read, in float32. */
    readonly prefillActivationBytes: number;
    readonly totalBytes: number;
    /** Operations for each byte of weights and cache that is moved. */
    readonly prefillFlopsPerByte: number;
    readonly decodeFlopsPerByte: number;
  };
}

/**
 * What a language model costs; for other kinds see `inspectAnyModel`.
 *
 * @param model a model, or the content of its `config.json`
 * @throws TsumikiError CONFIG for a configuration that describes no model that is known here, ARGUMENT for impossible options
 */
export function inspectModel(model: CausalLM | HuggingFaceConfig, options: InspectOptions = {}): Inspection {
  const decoder = isModel(model) ? model : modelFromConfig(model, undefined, "causal-lm");
  const config = { ...(isModel(model) ? {} : model), ...configOf(decoder) };
  const geometry = decoderGeometry(config);
  const { batch = 1, context = decoder.contextLength, dtype = "float32", optimizer = "adamw", engine } = options;
  checkSizes({ batch, context }, decoder.contextLength);
  if (!Object.hasOwn(bytesOf, dtype))
    throw new ArgumentError(`The dtype ${JSON.stringify(dtype)} is not known; known are ${inferenceDTypes.join(", ")}.`);
  if (engine !== undefined && !engineNames.includes(engine))
    throw new ArgumentError(`The engine ${JSON.stringify(engine)} is not known here; known are ${engineNames.join(", ")}.`);

  const shapes = [...decoder.parameters()].map(([path, { shape }]) => ({ path, shape, parameters: elementCount(shape) }));
  const parameters = total(shapes, (shape) => shape.parameters);
  const active = activeParameters(shapes, geometry);
  const flops = countFlops(decoder, shapes, geometry, context);
  const sizes = { batch, context };
  const activations = trainingActivations(config, geometry, sizes);
  const optimizerStateBytes = 4 * optimizerElements(optimizer, shapes);
  const state = { weightBytes: 4 * parameters, gradientBytes: 4 * parameters, optimizerStateBytes };
  const valueBytes = state.weightBytes + optimizerStateBytes;
  const inPlace = engine !== "openvino" && valueBytes >= leastBytesInPlace;
  const secondBufferBytes = inPlace ? 0 : valueBytes;
  const processBytes = (name: EngineName, recompute: boolean): number => {
    const { workingBytes, programBytes } = stepMemory(config, geometry, sizes, { engine: name, recompute, inPlace });
    return valueBytes + secondBufferBytes + workingBytes + programBytes;
  };
  const withoutActivations = valueBytes + secondBufferBytes + state.gradientBytes;

  return {
    modelType: decoder.modelType,
    ...{ batch, context, dtype, optimizer, parameters },
    activeParameters: active,
    modules: byModule(shapes),
    flops,
    training: {
      ...state,
      secondBufferBytes,
      activationBytes: activations.plainBytes,
      activationBytesRecomputed: activations.recomputedBytes,
      totalBytes: withoutActivations + activations.plainBytes,
      totalBytesRecomputed: withoutActivations + activations.recomputedBytes,
      ...(engine && { processBytes: processBytes(engine, false), processBytesRecomputed: processBytes(engine, true) }),
    },
    inference: inferenceCosts(config, geometry, flops, { parameters, active, shapes, sizes, dtype }),
  };
}

const isModel = (model: CausalLM | HuggingFaceConfig): model is CausalLM => typeof model.forward === "function";

interface CountedParameter {
  readonly path: string;
  readonly shape: readonly number[];
  readonly parameters: number;
}

const total = <T>(items: Iterable<T>, amount: (item: T) => number): number => {
  let sum = 0;
  for (const item of items) sum += amount(item);
  return sum;
};

/** Parameters of the chosen experts only: those in `experts` are used by a share of the tokens. */
const isExpert = ({ path }: CountedParameter): boolean => /(^|\.)experts(\.|$)/.test(path);

const activeParameters = (shapes: readonly CountedParameter[], { experts, expertsPerToken }: DecoderGeometry): number =>
  total(shapes, (shape) => (isExpert(shape) ? (shape.parameters * expertsPerToken) / experts : shape.parameters));

/** A table whose rows are looked up and not multiplied with. */
const isLookup = ({ path }: CountedParameter, shapes: readonly CountedParameter[]): boolean =>
  /(^|\.)(wpe|embedPositions)\.weight$/.test(path) ||
  (/(^|\.)(wte|embedTokens|embedIn|wordEmbeddings)\.weight$/.test(path) && shapes.some((other) => isOutput(other)));

/** A model without an output of its own multiplies with its embedding. */
const isOutput = ({ path }: CountedParameter): boolean => /(^|\.)(lmHead|embedOut)\.weight$/.test(path);

function countFlops(
  decoder: CausalLM,
  shapes: readonly CountedParameter[],
  geometry: DecoderGeometry,
  context: number,
): Inspection["flops"] {
  const matrices = shapes.filter((shape) => shape.shape.length > 1 && !isLookup(shape, shapes));
  const weightFlopsPerToken = 2 * activeParameters(matrices, geometry);
  const attentionFlopsPerToken = attentionFlops(geometry, (window) => meanVisibleKeys(context, window));
  const forward = weightFlopsPerToken + attentionFlopsPerToken;
  // The output layer is not computed again.
  const output = 2 * decoder.vocabSize * geometry.hiddenSize;
  return {
    weightFlopsPerToken,
    attentionFlopsPerToken,
    forwardFlopsPerToken: forward,
    trainingFlopsPerToken: 3 * forward,
    trainingFlopsPerTokenRecomputed: 4 * forward - output,
  };
}

/** Scores and their mixture of values: two products of `headDim` for each query head and key. */
const attentionFlops = ({ heads, headDim, windows }: DecoderGeometry, keys: (window: number | undefined) => number): number =>
  total(windows, (window) => 4 * heads * headDim * keys(window));

/** Keys that a query sees, the mean over the positions of a context: itself and those before it, at most a window of them. */
export function meanVisibleKeys(context: number, window = context): number {
  const full = Math.min(window, context);
  return (full * (full + 1)) / 2 / context + ((context - full) * full) / context;
}

interface InferenceContext {
  readonly parameters: number;
  readonly active: number;
  readonly shapes: readonly CountedParameter[];
  readonly sizes: { readonly batch: number; readonly context: number };
  readonly dtype: InferenceDType;
}

function inferenceCosts(
  config: HuggingFaceConfig,
  geometry: DecoderGeometry,
  flops: Inspection["flops"],
  { parameters, shapes, sizes, dtype }: InferenceContext,
): Inspection["inference"] {
  const { batch, context } = sizes;
  const weightBytes = parameters * bytesOf[dtype];
  const cacheBytes = Math.max(2, bytesOf[dtype]);
  const kvCacheBytes = batch * kvCacheBytesPerSequence(geometry, context, cacheBytes);
  const prefillActivationBytes = prefillActivations(config, geometry, sizes);
  const decodeFlops = flops.weightFlopsPerToken + attentionFlops(geometry, (window) => Math.min(context, window ?? context));
  const readBytes = (tokens: number) =>
    total(shapes, (shape) => shape.parameters * shareRead(shape, geometry, tokens)) * bytesOf[dtype];
  return {
    weightBytes,
    kvCacheBytes,
    kvCacheBytesPerToken: kvCacheBytesPerSequence(geometry, 1, cacheBytes),
    prefillActivationBytes,
    totalBytes: weightBytes + kvCacheBytes + prefillActivationBytes,
    prefillFlopsPerByte: (batch * context * flops.forwardFlopsPerToken) / (readBytes(batch * context) + kvCacheBytes),
    decodeFlopsPerByte: (batch * decodeFlops) / (readBytes(batch) + kvCacheBytes),
  };
}

/** Keys and values of all layers: 2 · layers · tokens · kvHeads · headDim elements; a layer with a window keeps that many tokens. */
export const kvCacheBytesPerSequence = (
  { windows, kvHeads, headDim }: DecoderGeometry,
  tokens: number,
  elementBytes: number,
): number => total(windows, (window) => 2 * Math.min(tokens, window ?? tokens) * kvHeads * headDim * elementBytes);

/** The share of a parameter that `tokens` tokens make it necessary to read: that of experts which at least one of them chooses. */
const shareRead = (parameter: CountedParameter, { experts, expertsPerToken }: DecoderGeometry, tokens: number): number =>
  isExpert(parameter) ? 1 - (1 - expertsPerToken / experts) ** tokens : 1;
