/**
 * The Llama-style decoder (Touvron et al. 2023, "LLaMA", section 2.2).
 *
 * Notable: RMSNorm before each block and once at the end; rotary positions instead of learned ones; SwiGLU; no biases;
 * grouped-query attention, in which several query heads share a key and value head; the embedding may or may not also
 * be the output.
 */

import { ArgumentError } from "../errors.js";
import { add } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";
import { attend, type LayerCache, type Mask, mergeHeads, splitHeads } from "../nn/attention.js";
import { SwiGLU } from "../nn/feed-forward.js";
import { normal } from "../nn/initializers.js";
import { Embedding, Linear } from "../nn/linear.js";
import { Module } from "../nn/module.js";
import { RMSNorm } from "../nn/norm.js";
import { Rotary } from "../nn/rotary.js";
import { CausalLM, causalMask, type ForwardOptions, positionsOf } from "./causal-lm.js";

/** Names as in Hugging Face's `LlamaConfig`. */
export interface LlamaOptions {
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of the feed-forward blocks. Default: 8/3 · hiddenSize, rounded up to a multiple of 64. */
  readonly intermediateSize?: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Heads of keys and values; fewer than query heads for grouped-query attention. Default: as many. */
  readonly numKeyValueHeads?: number;
  /** Default: hiddenSize / numAttentionHeads. */
  readonly headDim?: number;
  /** The longest context. Default 2048. */
  readonly maxPositionEmbeddings?: number;
  readonly rmsNormEps?: number;
  /** Base of the rotary wavelengths. Default 10,000. */
  readonly ropeTheta?: number;
  /** Whether the output shares the embedding's weight. Default false. */
  readonly tieWordEmbeddings?: boolean;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
}

export type LlamaConfig = Required<LlamaOptions>;

function complete(options: LlamaOptions): LlamaConfig {
  const { hiddenSize, numAttentionHeads } = options;
  const config: LlamaConfig = {
    intermediateSize: Math.ceil(((8 / 3) * hiddenSize) / 64) * 64,
    numKeyValueHeads: numAttentionHeads,
    headDim: hiddenSize / numAttentionHeads,
    maxPositionEmbeddings: 2048,
    rmsNormEps: 1e-6,
    ropeTheta: 10_000,
    tieWordEmbeddings: false,
    initializerRange: 0.02,
    ...options,
  };
  if (config.vocabSize < 2)
    throw new ArgumentError(`Llama: a vocabulary needs at least 2 tokens, but vocabSize is ${config.vocabSize}.`);
  if (!Number.isInteger(config.headDim) || config.headDim % 2 !== 0)
    throw new ArgumentError(
      `Llama: rotary positions need an even headDim, but it is ${config.headDim} (hiddenSize ${hiddenSize}, ${numAttentionHeads} heads).`,
    );
  if (numAttentionHeads % config.numKeyValueHeads !== 0)
    throw new ArgumentError(`Llama: ${numAttentionHeads} query heads cannot share ${config.numKeyValueHeads} key heads evenly.`);
  return config;
}

/** Grouped-query attention with rotary positions (Ainslie et al. 2023; Su et al. 2021). */
export class LlamaAttention extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
  readonly #headDim: number;

  constructor({ hiddenSize, headDim, numAttentionHeads, numKeyValueHeads, initializerRange }: LlamaConfig) {
    super();
    const linear = { bias: false, initializer: normal(initializerRange) };
    this.qProj = new Linear(hiddenSize, numAttentionHeads * headDim, linear);
    this.kProj = new Linear(hiddenSize, numKeyValueHeads * headDim, linear);
    this.vProj = new Linear(hiddenSize, numKeyValueHeads * headDim, linear);
    this.oProj = new Linear(numAttentionHeads * headDim, hiddenSize, linear);
    this.#headDim = headDim;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, rotary: Rotary, mask: Mask, cache?: LayerCache): Tensor {
    const q = rotary.apply(splitHeads(this.qProj.forward(x), this.#headDim)); // [batch, heads, seq, headDim]
    const k = rotary.apply(splitHeads(this.kProj.forward(x), this.#headDim)); // [batch, kvHeads, seq, headDim]
    const v = splitHeads(this.vProj.forward(x), this.#headDim);
    return this.oProj.forward(mergeHeads(attend(q, k, v, { mask, cache })));
  }
}

export class LlamaLayer extends Module {
  readonly inputLayernorm: RMSNorm;
  readonly selfAttn: LlamaAttention;
  readonly postAttentionLayernorm: RMSNorm;
  readonly mlp: SwiGLU;

  constructor(config: LlamaConfig) {
    super();
    const norm = { epsilon: config.rmsNormEps };
    this.inputLayernorm = new RMSNorm(config.hiddenSize, norm);
    this.selfAttn = new LlamaAttention(config);
    this.postAttentionLayernorm = new RMSNorm(config.hiddenSize, norm);
    this.mlp = new SwiGLU(config.hiddenSize, config.intermediateSize, { initializer: normal(config.initializerRange) });
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, rotary: Rotary, mask: Mask, cache?: LayerCache): Tensor {
    const attended = add(x, this.selfAttn.forward(this.inputLayernorm.forward(x), rotary, mask, cache));
    return add(attended, this.mlp.forward(this.postAttentionLayernorm.forward(attended)));
  }
}

export class Llama extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly LlamaLayer[];
  readonly norm: RMSNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: LlamaConfig;

  constructor(options: LlamaOptions) {
    super();
    const config = complete(options);
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(config.vocabSize, config.hiddenSize, { initializer });
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new LlamaLayer(config));
    this.norm = new RMSNorm(config.hiddenSize, { epsilon: config.rmsNormEps });
    this.lmHead = config.tieWordEmbeddings
      ? undefined
      : new Linear(config.hiddenSize, config.vocabSize, { bias: false, initializer });
  }

  protected hiddenStates(ids: Tensor, options: ForwardOptions): Tensor {
    const { headDim, ropeTheta } = this.#config;
    const rotary = new Rotary(positionsOf(ids, options), { headDim, theta: ropeTheta });
    const mask = causalMask(options);
    let x = this.embedTokens.forward(ids); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) x = layer.forward(x, rotary, mask, options.cache?.layer(i));
    return this.norm.forward(x);
  }

  protected get outputWeight(): Tensor {
    return this.lmHead?.weight ?? this.embedTokens.weight;
  }

  get contextLength(): number {
    return this.#config.maxPositionEmbeddings;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "llama";

  checkpointPath(path: string): string {
    return path.startsWith("lmHead.") ? path : `model.${path}`;
  }

  toConfig(): Readonly<Record<string, unknown>> {
    return { architectures: ["LlamaForCausalLM"], hiddenAct: "silu", ...this.#config };
  }
}
