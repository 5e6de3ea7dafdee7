/**
 * OLMo 2 (OLMo Team 2024, "2 OLMo 2 Furious", section 2.1).
 *
 * Notable: norms stand behind each block and not before it; queries and keys are normalized as wholes, before they are split into
 * heads; otherwise as Llama.
 */

import { add } from "../../graph/ops/arithmetic.js";
import type { Tensor } from "../../graph/tensor.js";
import { type ActivationName, activations, GatedFeedForward } from "../../nn/feed-forward.js";
import { type AttentionInputs, GroupedQueryAttention } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { RMSNorm } from "../../nn/norm.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, rotaryOf } from "../causal-lm.js";
import { checkHeads } from "../settings-check.js";

/** Names as in Hugging Face's `Olmo2Config`. */
export interface Olmo2Options {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Default: as many as query heads. */
  readonly numKeyValueHeads?: number;
  /** The longest context. Default 2048. */
  readonly maxPositionEmbeddings?: number;
  readonly rmsNormEps?: number;
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  readonly hiddenAct?: ActivationName;
  readonly attentionBias?: boolean;
  readonly attentionDropout?: number;
  readonly tieWordEmbeddings?: boolean;
  readonly initializerRange?: number;
}

export type Olmo2Config = Required<Olmo2Options>;

export class Olmo2Layer extends Module {
  readonly selfAttn: GroupedQueryAttention;
  readonly postAttentionLayernorm: RMSNorm;
  readonly mlp: GatedFeedForward;
  readonly postFeedforwardLayernorm: RMSNorm;

  constructor(config: Olmo2Config) {
    super();
    const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: kvHeads, attentionBias: bias } = config;
    const headDim = hiddenSize / heads;
    const norm = (size: number) => new RMSNorm(size, { epsilon: config.rmsNormEps });
    const initializer = normal(config.initializerRange);
    this.selfAttn = new GroupedQueryAttention({
      ...{ hiddenSize, headDim, heads, kvHeads, bias, outputBias: bias, initializer, dropout: config.attentionDropout },
      norm: { query: norm(heads * headDim), key: norm(kvHeads * headDim), over: "projection" },
    });
    this.postAttentionLayernorm = norm(hiddenSize);
    this.mlp = new GatedFeedForward(hiddenSize, config.intermediateSize, activations[config.hiddenAct], { initializer });
    this.postFeedforwardLayernorm = norm(hiddenSize);
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const attended = add(x, this.postAttentionLayernorm.forward(this.selfAttn.forward(x, inputs)));
    return add(attended, this.postFeedforwardLayernorm.forward(this.mlp.forward(attended)));
  }
}

export class Olmo2 extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly Olmo2Layer[];
  readonly norm: RMSNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: Olmo2Config;

  constructor(options: Olmo2Options) {
    super();
    const config: Olmo2Config = {
      numKeyValueHeads: options.numAttentionHeads,
      maxPositionEmbeddings: 2048,
      rmsNormEps: 1e-5,
      ropeTheta: 10_000,
      ropeScaling: null,
      hiddenAct: "silu",
      attentionBias: false,
      attentionDropout: 0,
      tieWordEmbeddings: false,
      initializerRange: 0.02,
      ...options,
    };
    checkHeads("Olmo2", config);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, { initializer });
    this.layers = Array.from({ length: numHiddenLayers }, () => new Olmo2Layer(config));
    this.norm = new RMSNorm(hiddenSize, { epsilon: config.rmsNormEps });
    this.lmHead = config.tieWordEmbeddings ? undefined : new Linear(hiddenSize, vocabSize, { bias: false, initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, numAttentionHeads } = this.#config;
    const rotary = rotaryOf(ids, options, { ...this.#config, headDim: hiddenSize / numAttentionHeads });
    const mask = causalMask(options);
    let x = this.embedTokens.forward(ids); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) x = layer.forward(x, { mask, rotary, cache: options.cache?.layer(i) });
    return this.norm.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.lmHead ?? this.embedTokens);
  }

  get contextLength(): number {
    return contextOf(this.#config.maxPositionEmbeddings, this.#config.ropeScaling);
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "olmo2";

  checkpointPath(path: string): string {
    return path.startsWith("lmHead.") ? path : `model.${path}`;
  }

  toConfig(): Olmo2Config {
    return this.#config;
  }
}
