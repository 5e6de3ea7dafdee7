/**
 * Gemma 2 and 3 (Gemma Team 2024, "Gemma 2: Improving open language models at a practical size"; 2025, "Gemma 3 technical report").
 *
 * Notable: layers that look through a window alternate with layers that see everything, in Gemma 3 with wavelengths of their
 * own; a norm before and after each block ("sandwich"), whose weight is kept as its distance from 1; embeddings scaled by
 * √hiddenSize; GEGLU with the tanh form of GELU; scores scaled by a number of its own. Gemma 2 bends scores and logits by tanh;
 * Gemma 3 normalizes queries and keys instead.
 */

import { ArgumentError } from "../../errors.js";
import { mul } from "../../graph/ops/arithmetic.js";
import type { Tensor } from "../../graph/tensor.js";
import { type ActivationName, activations, GatedFeedForward } from "../../nn/feed-forward.js";
import { type AttentionInputs, GroupedQueryAttention } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { OffsetRMSNorm } from "../../nn/norm.js";
import { sandwichNorm } from "../../nn/residual.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, type LayerType, rotaryOf } from "../causal-lm.js";
import { checkHeads, checkLayers } from "../settings-check.js";

/** Names as in Hugging Face's `Gemma2Config` and `Gemma3TextConfig`. */
export interface GemmaOptions {
  /** Gemma 3 normalizes queries and keys, and its window layers have wavelengths of their own. Default "gemma2". */
  readonly modelType?: "gemma2" | "gemma3_text";
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** The longest context. Default 8192. */
  readonly maxPositionEmbeddings?: number;
  readonly rmsNormEps?: number;
  /** Base of the rotary wavelengths, and how they are stretched. Default 10,000 and not at all. */
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  /** Base of the wavelengths in window layers, never stretched (Gemma 3). Default: those layers are like the others. */
  readonly ropeLocalBaseFreq?: number | null;
  /** Scores are divided by its root. Default 256. */
  readonly queryPreAttnScalar?: number;
  /** Bounds of attention scores and of logits. Default: none. */
  readonly attnLogitSoftcapping?: number | null;
  readonly finalLogitSoftcapping?: number | null;
  /** How many keys, its own included, a query of a window layer sees. Default 4096. */
  readonly slidingWindow?: number;
  /** Default: every other layer slides, the first one too. */
  readonly layerTypes?: readonly LayerType[];
  readonly hiddenActivation?: ActivationName;
  readonly attentionBias?: boolean;
  readonly attentionDropout?: number;
  readonly tieWordEmbeddings?: boolean;
  readonly initializerRange?: number;
}

export type GemmaConfig = Required<GemmaOptions>;

function complete(options: GemmaOptions): GemmaConfig {
  const alternating = (_: unknown, i: number): LayerType => (i % 2 === 0 ? "sliding_attention" : "full_attention");
  const config: GemmaConfig = {
    modelType: "gemma2",
    maxPositionEmbeddings: 8192,
    rmsNormEps: 1e-6,
    ropeTheta: 10_000,
    ropeScaling: null,
    ropeLocalBaseFreq: null,
    queryPreAttnScalar: 256,
    attnLogitSoftcapping: null,
    finalLogitSoftcapping: null,
    slidingWindow: 4096,
    layerTypes: Array.from({ length: options.numHiddenLayers }, alternating),
    hiddenActivation: "gelu_pytorch_tanh",
    attentionBias: false,
    attentionDropout: 0,
    tieWordEmbeddings: true,
    initializerRange: 0.02,
    ...options,
  };
  checkLayers("Gemma", config.numHiddenLayers, { layerTypes: config.layerTypes });
  checkHeads("Gemma", config);
  if (config.modelType === "gemma2" && config.ropeLocalBaseFreq !== null)
    throw new ArgumentError("Gemma: in a gemma2 all layers have the same wavelengths; ropeLocalBaseFreq belongs to gemma3_text.");
  return config;
}

export class GemmaLayer extends Module {
  readonly inputLayernorm: OffsetRMSNorm;
  readonly selfAttn: GroupedQueryAttention;
  readonly postAttentionLayernorm: OffsetRMSNorm;
  readonly preFeedforwardLayernorm: OffsetRMSNorm;
  readonly mlp: GatedFeedForward;
  readonly postFeedforwardLayernorm: OffsetRMSNorm;

  constructor(config: GemmaConfig) {
    super();
    const { hiddenSize, headDim, intermediateSize, attentionBias: bias } = config;
    const norm = (size = hiddenSize) => new OffsetRMSNorm(size, { epsilon: config.rmsNormEps });
    const initializer = normal(config.initializerRange);
    this.inputLayernorm = norm();
    this.selfAttn = new GroupedQueryAttention({
      ...{ hiddenSize, headDim, heads: config.numAttentionHeads, kvHeads: config.numKeyValueHeads, initializer },
      ...{ bias, outputBias: bias, dropout: config.attentionDropout },
      scale: config.queryPreAttnScalar ** -0.5,
      softCap: config.attnLogitSoftcapping ?? undefined,
      norm: config.modelType === "gemma3_text" ? { query: norm(headDim), key: norm(headDim), over: "heads" } : undefined,
    });
    this.postAttentionLayernorm = norm();
    this.preFeedforwardLayernorm = norm();
    this.mlp = new GatedFeedForward(hiddenSize, intermediateSize, activations[config.hiddenActivation], { initializer });
    this.postFeedforwardLayernorm = norm();
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const attend = (y: Tensor) => this.selfAttn.forward(y, inputs);
    const attended = sandwichNorm(x, this.inputLayernorm, attend, this.postAttentionLayernorm);
    return sandwichNorm(attended, this.preFeedforwardLayernorm, this.mlp, this.postFeedforwardLayernorm);
  }
}

export class Gemma extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly GemmaLayer[];
  readonly norm: OffsetRMSNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: GemmaConfig;

  constructor(options: GemmaOptions) {
    super();
    const config = complete(options);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, { initializer });
    this.layers = Array.from({ length: numHiddenLayers }, () => new GemmaLayer(config));
    this.norm = new OffsetRMSNorm(hiddenSize, { epsilon: config.rmsNormEps });
    this.lmHead = config.tieWordEmbeddings ? undefined : new Linear(hiddenSize, vocabSize, { bias: false, initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, ropeLocalBaseFreq: theta } = this.#config;
    const rotary = rotaryOf(ids, options, this.#config);
    const local = theta === null ? rotary : rotaryOf(ids, options, { ...this.#config, ropeTheta: theta, ropeScaling: null });
    const mask = causalMask(options);
    const full = { mask, rotary };
    const sliding = { mask: { ...mask, window: this.#config.slidingWindow }, rotary: local };
    let x = mul(this.embedTokens.forward(ids), Math.sqrt(hiddenSize)); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) {
      const inputs = this.#config.layerTypes[i] === "full_attention" ? full : sliding;
      x = layer.forward(x, { ...inputs, cache: options.cache?.layer(i) });
    }
    return this.norm.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.lmHead ?? this.embedTokens, { softCap: this.#config.finalLogitSoftcapping ?? undefined });
  }

  get contextLength(): number {
    return contextOf(this.#config.maxPositionEmbeddings, this.#config.ropeScaling);
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  get modelType(): string {
    return this.#config.modelType;
  }

  checkpointPath(path: string): string {
    return path.startsWith("lmHead.") ? path : `model.${path}`;
  }

  toConfig(): GemmaConfig {
    return this.#config;
  }
}
