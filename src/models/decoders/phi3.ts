/**
 * Phi 3 and 4 (Abdin et al. 2024, "Phi-3 technical report"; "Phi-4 technical report").
 *
 * Notable: a Llama whose maps to queries, keys and values are one, and those to gate and up as well; contexts of 128 k by LongRoPE;
 * in Phi 4 mini a part of each head's features is not rotated.
 */

import { add, mul } from "../../graph/ops/arithmetic.js";
import { split } from "../../graph/ops/shape-slice.js";
import type { Tensor } from "../../graph/tensor.js";
import { attend, mergeHeads, splitHeads } from "../../nn/attention.js";
import { dropout } from "../../nn/dropout.js";
import { type ActivationName, activations } from "../../nn/feed-forward.js";
import type { AttentionInputs } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { RMSNorm } from "../../nn/norm.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, rotaryOf } from "../causal-lm.js";
import { checkHeads } from "../settings-check.js";

/** Names as in Hugging Face's `Phi3Config`. */
export interface Phi3Options {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Default: as many as query heads. */
  readonly numKeyValueHeads?: number;
  /** The longest context. Default 4096. */
  readonly maxPositionEmbeddings?: number;
  readonly rmsNormEps?: number;
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  /** Share of a head's features that is rotated. Default 1. */
  readonly partialRotaryFactor?: number;
  /** How many keys, its own included, a query sees. Default: all. */
  readonly slidingWindow?: number | null;
  readonly hiddenAct?: ActivationName;
  /** Dropout after the embeddings, on attention weights and on what enters the residual stream. Default 0. */
  readonly embdPdrop?: number;
  readonly attentionDropout?: number;
  readonly residPdrop?: number;
  readonly tieWordEmbeddings?: boolean;
  readonly initializerRange?: number;
}

export type Phi3Config = Required<Phi3Options>;

/** Linear maps without biases. */
const linear = (from: number, to: number, { initializerRange }: Phi3Config) =>
  new Linear(from, to, { bias: false, initializer: normal(initializerRange) });

/** Grouped-query attention whose queries, keys and values come from one map, one kind after the other. */
export class Phi3Attention extends Module {
  readonly qkvProj: Linear;
  readonly oProj: Linear;
  readonly #config: Phi3Config;

  constructor(config: Phi3Config) {
    super();
    const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: kvHeads } = config;
    this.qkvProj = linear(hiddenSize, (heads + 2 * kvHeads) * (hiddenSize / heads), config);
    this.oProj = linear(hiddenSize, hiddenSize, config);
    this.#config = config;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, { mask, rotary, cache }: AttentionInputs): Tensor {
    const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: kvHeads, attentionDropout } = this.#config;
    const headDim = hiddenSize / heads;
    const widths = [heads, kvHeads, kvHeads].map((count) => count * headDim);
    const parts = split(this.qkvProj.forward(x), widths, 2).map((part) => splitHeads(part, headDim));
    const [q, k, v] = parts as unknown as readonly [Tensor, Tensor, Tensor]; // [batch, heads or kvHeads, seq, headDim]
    const turned = (y: Tensor) => (rotary ? rotary.apply(y) : y);
    return this.oProj.forward(mergeHeads(attend(turned(q), turned(k), v, { mask, cache, dropout: attentionDropout })));
  }
}

/** down(activation(gate) · up) with gate and up from one map. */
export class Phi3MLP extends Module {
  readonly gateUpProj: Linear;
  readonly downProj: Linear;
  readonly #activation: ActivationName;

  constructor(config: Phi3Config) {
    super();
    this.gateUpProj = linear(config.hiddenSize, 2 * config.intermediateSize, config);
    this.downProj = linear(config.intermediateSize, config.hiddenSize, config);
    this.#activation = config.hiddenAct;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor): Tensor {
    const [gate, up] = split(this.gateUpProj.forward(x), 2, 2) as unknown as readonly [Tensor, Tensor];
    return this.downProj.forward(mul(activations[this.#activation](gate), up));
  }
}

export class Phi3Layer extends Module {
  readonly inputLayernorm: RMSNorm;
  readonly selfAttn: Phi3Attention;
  readonly postAttentionLayernorm: RMSNorm;
  readonly mlp: Phi3MLP;
  readonly #dropout: number;

  constructor(config: Phi3Config) {
    super();
    const norm = () => new RMSNorm(config.hiddenSize, { epsilon: config.rmsNormEps });
    this.inputLayernorm = norm();
    this.selfAttn = new Phi3Attention(config);
    this.postAttentionLayernorm = norm();
    this.mlp = new Phi3MLP(config);
    this.#dropout = config.residPdrop;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const attended = dropout(this.selfAttn.forward(this.inputLayernorm.forward(x), inputs), this.#dropout, "attention");
    const y = add(x, attended);
    return add(y, dropout(this.mlp.forward(this.postAttentionLayernorm.forward(y)), this.#dropout, "mlp"));
  }
}

export class Phi3 extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly Phi3Layer[];
  readonly norm: RMSNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: Phi3Config;

  constructor(options: Phi3Options) {
    super();
    const config: Phi3Config = {
      numKeyValueHeads: options.numAttentionHeads,
      maxPositionEmbeddings: 4096,
      rmsNormEps: 1e-5,
      ropeTheta: 10_000,
      ropeScaling: null,
      partialRotaryFactor: 1,
      slidingWindow: null,
      hiddenAct: "silu",
      embdPdrop: 0,
      attentionDropout: 0,
      residPdrop: 0,
      tieWordEmbeddings: false,
      initializerRange: 0.02,
      ...options,
    };
    checkHeads("Phi3", config);
    const { vocabSize, hiddenSize } = config;
    this.#config = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, { initializer: normal(config.initializerRange) });
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new Phi3Layer(config));
    this.norm = new RMSNorm(hiddenSize, { epsilon: config.rmsNormEps });
    this.lmHead = config.tieWordEmbeddings ? undefined : linear(hiddenSize, vocabSize, config);
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, numAttentionHeads, slidingWindow } = this.#config;
    const rotary = rotaryOf(ids, options, { ...this.#config, headDim: hiddenSize / numAttentionHeads });
    const mask = { ...causalMask(options), window: slidingWindow ?? undefined };
    let x = dropout(this.embedTokens.forward(ids), this.#config.embdPdrop); // [batch, seq, hidden]
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

  readonly modelType = "phi3";

  checkpointPath(path: string): string {
    return path.startsWith("lmHead.") ? path : `model.${path}`;
  }

  toConfig(): Phi3Config {
    return this.#config;
  }
}
