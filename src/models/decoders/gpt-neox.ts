/**
 * GPT-NeoX (Black et al. 2022, "GPT-NeoX-20B", section 2), the architecture of the Pythia models (Biderman et al. 2023).
 *
 * Notable: attention and feed-forward block, each behind a LayerNorm of its own, are added together ("parallel") or follow each
 * other; one map makes queries, keys and values; a quarter of each head's features is rotated; biases in both blocks.
 */

import { add } from "../../graph/ops/arithmetic.js";
import type { Tensor } from "../../graph/tensor.js";
import { dropout } from "../../nn/dropout.js";
import { type ActivationName, activations, FeedForward } from "../../nn/feed-forward.js";
import { FusedAttention } from "../../nn/fused-attention.js";
import type { AttentionInputs } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, renamed, rotaryOf } from "../causal-lm.js";
import { checkHeads } from "../settings-check.js";

/** Names as in Hugging Face's `GPTNeoXConfig`. */
export interface GPTNeoXOptions {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Default 4 · hiddenSize. */
  readonly intermediateSize?: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** The longest context. Default 2048. */
  readonly maxPositionEmbeddings?: number;
  readonly layerNormEps?: number;
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  /** Share of a head's features that is rotated. Default 0.25. */
  readonly partialRotaryFactor?: number;
  /** Whether both blocks read the layer's input. Default true. */
  readonly useParallelResidual?: boolean;
  readonly hiddenAct?: ActivationName;
  readonly attentionBias?: boolean;
  /** Dropout on attention weights, and after the embeddings and both blocks. Default 0. */
  readonly attentionDropout?: number;
  readonly hiddenDropout?: number;
  readonly tieWordEmbeddings?: boolean;
  readonly initializerRange?: number;
}

export type GPTNeoXConfig = Required<GPTNeoXOptions>;

export class GPTNeoXLayer extends Module {
  readonly inputLayernorm: LayerNorm;
  readonly postAttentionLayernorm: LayerNorm;
  readonly attention: FusedAttention;
  readonly mlp: FeedForward;
  readonly #config: GPTNeoXConfig;

  constructor(config: GPTNeoXConfig) {
    super();
    const { hiddenSize, numAttentionHeads: heads, attentionBias: bias, attentionDropout, layerNormEps: epsilon } = config;
    const initializer = normal(config.initializerRange);
    this.inputLayernorm = new LayerNorm(hiddenSize, { epsilon });
    this.postAttentionLayernorm = new LayerNorm(hiddenSize, { epsilon });
    this.attention = new FusedAttention({ hiddenSize, heads, bias, initializer, dropout: attentionDropout });
    this.mlp = new FeedForward(hiddenSize, config.intermediateSize, activations[config.hiddenAct], { initializer });
    this.#config = config;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const { hiddenDropout, useParallelResidual } = this.#config;
    const attended = dropout(this.attention.forward(this.inputLayernorm.forward(x), inputs), hiddenDropout, "attention");
    const feed = (y: Tensor) => dropout(this.mlp.forward(this.postAttentionLayernorm.forward(y)), hiddenDropout, "mlp");
    if (useParallelResidual) return add(add(feed(x), attended), x);
    const y = add(attended, x);
    return add(feed(y), y);
  }
}

export class GPTNeoX extends CausalLM {
  readonly embedIn: Embedding;
  readonly layers: readonly GPTNeoXLayer[];
  readonly finalLayerNorm: LayerNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: GPTNeoXConfig;

  constructor(options: GPTNeoXOptions) {
    super();
    const config: GPTNeoXConfig = {
      intermediateSize: 4 * options.hiddenSize,
      maxPositionEmbeddings: 2048,
      layerNormEps: 1e-5,
      ropeTheta: 10_000,
      ropeScaling: null,
      partialRotaryFactor: 0.25,
      useParallelResidual: true,
      hiddenAct: "gelu",
      attentionBias: true,
      attentionDropout: 0,
      hiddenDropout: 0,
      tieWordEmbeddings: false,
      initializerRange: 0.02,
      ...options,
    };
    checkHeads("GPTNeoX", config);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedIn = new Embedding(vocabSize, hiddenSize, { initializer });
    this.layers = Array.from({ length: numHiddenLayers }, () => new GPTNeoXLayer(config));
    this.finalLayerNorm = new LayerNorm(hiddenSize, { epsilon: config.layerNormEps });
    this.lmHead = config.tieWordEmbeddings ? undefined : new Linear(hiddenSize, vocabSize, { bias: false, initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, numAttentionHeads } = this.#config;
    const rotary = rotaryOf(ids, options, { ...this.#config, headDim: hiddenSize / numAttentionHeads });
    const mask = causalMask(options);
    let x = dropout(this.embedIn.forward(ids), this.#config.hiddenDropout); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) x = layer.forward(x, { mask, rotary, cache: options.cache?.layer(i) });
    return this.finalLayerNorm.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.lmHead ?? this.embedIn);
  }

  get contextLength(): number {
    return contextOf(this.#config.maxPositionEmbeddings, this.#config.ropeScaling);
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "gpt_neox";

  checkpointPath(path: string): string {
    if (path.startsWith("lmHead.")) return path.replace("lmHead", "embedOut");
    return `gptNeox.${renamed(path, { upProj: "denseHTo4h", downProj: "dense4hToH" })}`;
  }

  toConfig(): GPTNeoXConfig {
    return this.#config;
  }
}
