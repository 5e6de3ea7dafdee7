/**
 * Phi 1, 1.5 and 2 (Li et al. 2023, "Textbooks are all you need II").
 *
 * Notable: attention and feed-forward block read the same norm and are added together ("parallel"); only a part of each head's
 * features is rotated; LayerNorm; biases everywhere, in the output too.
 */

import { add } from "../../graph/ops/arithmetic.js";
import type { Tensor } from "../../graph/tensor.js";
import { dropout } from "../../nn/dropout.js";
import { type ActivationName, activations, FeedForward } from "../../nn/feed-forward.js";
import { type AttentionInputs, GroupedQueryAttention } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, renamed, rotaryOf } from "../causal-lm.js";
import { checkHeads } from "../settings-check.js";

/** Names as in Hugging Face's `PhiConfig`. */
export interface PhiOptions {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Default: as many as query heads. */
  readonly numKeyValueHeads?: number;
  /** The longest context. Default 2048. */
  readonly maxPositionEmbeddings?: number;
  readonly layerNormEps?: number;
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  /** Share of a head's features that is rotated. Default 0.5. */
  readonly partialRotaryFactor?: number;
  /** LayerNorm on each head's queries and keys. Default false. */
  readonly qkLayernorm?: boolean;
  readonly hiddenAct?: ActivationName;
  /** Dropout after the embeddings, on attention weights and on what enters the residual stream. Default 0. */
  readonly embdPdrop?: number;
  readonly attentionDropout?: number;
  readonly residPdrop?: number;
  readonly initializerRange?: number;
}

export type PhiConfig = Required<PhiOptions>;

export class PhiLayer extends Module {
  readonly inputLayernorm: LayerNorm;
  readonly selfAttn: GroupedQueryAttention;
  readonly mlp: FeedForward;
  readonly #dropout: number;

  constructor(config: PhiConfig) {
    super();
    const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: kvHeads, layerNormEps: epsilon } = config;
    const headDim = hiddenSize / heads;
    const initializer = normal(config.initializerRange);
    const headNorm = () => new LayerNorm(headDim, { epsilon });
    this.inputLayernorm = new LayerNorm(hiddenSize, { epsilon });
    this.selfAttn = new GroupedQueryAttention({
      ...{ hiddenSize, headDim, heads, kvHeads, bias: true, outputBias: true, initializer, dropout: config.attentionDropout },
      norm: config.qkLayernorm ? { query: headNorm(), key: headNorm(), over: "heads" } : undefined,
    });
    this.mlp = new FeedForward(hiddenSize, config.intermediateSize, activations[config.hiddenAct], { initializer });
    this.#dropout = config.residPdrop;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const normalized = this.inputLayernorm.forward(x);
    const attended = dropout(this.selfAttn.forward(normalized, inputs), this.#dropout, "attention");
    return add(add(attended, dropout(this.mlp.forward(normalized), this.#dropout, "mlp")), x);
  }
}

export class Phi extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly PhiLayer[];
  readonly finalLayernorm: LayerNorm;
  readonly lmHead: Linear;
  readonly #config: PhiConfig;

  constructor(options: PhiOptions) {
    super();
    const config: PhiConfig = {
      numKeyValueHeads: options.numAttentionHeads,
      maxPositionEmbeddings: 2048,
      layerNormEps: 1e-5,
      ropeTheta: 10_000,
      ropeScaling: null,
      partialRotaryFactor: 0.5,
      qkLayernorm: false,
      hiddenAct: "gelu_new",
      embdPdrop: 0,
      attentionDropout: 0,
      residPdrop: 0,
      initializerRange: 0.02,
      ...options,
    };
    checkHeads("Phi", config);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, { initializer });
    this.layers = Array.from({ length: numHiddenLayers }, () => new PhiLayer(config));
    this.finalLayernorm = new LayerNorm(hiddenSize, { epsilon: config.layerNormEps });
    this.lmHead = new Linear(hiddenSize, vocabSize, { initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, numAttentionHeads } = this.#config;
    const rotary = rotaryOf(ids, options, { ...this.#config, headDim: hiddenSize / numAttentionHeads });
    const mask = causalMask(options);
    let x = dropout(this.embedTokens.forward(ids), this.#config.embdPdrop); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) x = layer.forward(x, { mask, rotary, cache: options.cache?.layer(i) });
    return this.finalLayernorm.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.lmHead);
  }

  get contextLength(): number {
    return contextOf(this.#config.maxPositionEmbeddings, this.#config.ropeScaling);
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "phi";

  checkpointPath(path: string): string {
    if (path.startsWith("lmHead.")) return path;
    const names = { oProj: "dense", qNorm: "qLayernorm", kNorm: "kLayernorm", upProj: "fc$1", downProj: "fc$2" };
    return `model.${renamed(path, names)}`;
  }

  toConfig(): PhiConfig {
    return this.#config;
  }
}
