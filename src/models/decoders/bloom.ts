/**
 * BLOOM (BigScience Workshop 2022, "BLOOM: A 176B-parameter open-access multilingual language model", section 3.2).
 *
 * Notable: no positions but in attention, whose scores fall with the distance, for each head at its own rate (ALiBi); a LayerNorm
 * right behind the embeddings; one map makes queries, keys and values; the output shares its weight with the embedding.
 */

import { geluTanh } from "../../graph/ops/activation.js";
import { add } from "../../graph/ops/arithmetic.js";
import type { Tensor } from "../../graph/tensor.js";
import { alibiSlopes } from "../../nn/alibi.js";
import { dropout } from "../../nn/dropout.js";
import { FeedForward } from "../../nn/feed-forward.js";
import { FusedAttention } from "../../nn/fused-attention.js";
import type { AttentionInputs } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import { CausalLM, causalMask, type ForwardOptions, renamed } from "../causal-lm.js";
import { checkShared } from "../settings-check.js";

/** Names as in Hugging Face's `BloomConfig`. */
export interface BloomOptions {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly nLayer: number;
  readonly nHead: number;
  /** The longest context; nothing in the model depends on it. Default 2048. */
  readonly seqLength?: number;
  readonly layerNormEpsilon?: number;
  /** Whether what flows past a block is its normalized input. Default false. */
  readonly applyResidualConnectionPostLayernorm?: boolean;
  readonly attentionDropout?: number;
  readonly hiddenDropout?: number;
  readonly initializerRange?: number;
}

export type BloomConfig = Required<BloomOptions>;

export class BloomBlock extends Module {
  readonly inputLayernorm: LayerNorm;
  readonly selfAttention: FusedAttention;
  readonly postAttentionLayernorm: LayerNorm;
  readonly mlp: FeedForward;
  readonly #config: BloomConfig;

  constructor(config: BloomConfig) {
    super();
    const { hiddenSize, nHead: heads, layerNormEpsilon: epsilon, attentionDropout } = config;
    const initializer = normal(config.initializerRange);
    const slopes = alibiSlopes(heads);
    this.inputLayernorm = new LayerNorm(hiddenSize, { epsilon });
    this.selfAttention = new FusedAttention({ hiddenSize, heads, slopes, initializer, dropout: attentionDropout });
    this.postAttentionLayernorm = new LayerNorm(hiddenSize, { epsilon });
    this.mlp = new FeedForward(hiddenSize, 4 * hiddenSize, geluTanh, { initializer });
    this.#config = config;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const { hiddenDropout, applyResidualConnectionPostLayernorm: past } = this.#config;
    const normalized = this.inputLayernorm.forward(x);
    const y = add(past ? normalized : x, dropout(this.selfAttention.forward(normalized, inputs), hiddenDropout, "attention"));
    const normalizedAgain = this.postAttentionLayernorm.forward(y);
    return add(past ? normalizedAgain : y, dropout(this.mlp.forward(normalizedAgain), hiddenDropout, "mlp"));
  }
}

export class Bloom extends CausalLM {
  readonly wordEmbeddings: Embedding;
  readonly wordEmbeddingsLayernorm: LayerNorm;
  readonly h: readonly BloomBlock[];
  readonly lnF: LayerNorm;
  readonly #config: BloomConfig;

  constructor(options: BloomOptions) {
    super();
    const config: BloomConfig = {
      seqLength: 2048,
      layerNormEpsilon: 1e-5,
      applyResidualConnectionPostLayernorm: false,
      attentionDropout: 0,
      hiddenDropout: 0,
      initializerRange: 0.02,
      ...options,
    };
    checkShared("Bloom", { hiddenSize: config.hiddenSize }, { nHead: config.nHead });
    const norm = () => new LayerNorm(config.hiddenSize, { epsilon: config.layerNormEpsilon });
    this.#config = config;
    this.wordEmbeddings = new Embedding(config.vocabSize, config.hiddenSize, { initializer: normal(config.initializerRange) });
    this.wordEmbeddingsLayernorm = norm();
    this.h = Array.from({ length: config.nLayer }, () => new BloomBlock(config));
    this.lnF = norm();
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const mask = causalMask(options);
    let x = this.wordEmbeddingsLayernorm.forward(this.wordEmbeddings.forward(ids)); // [batch, seq, hidden]
    for (const [i, block] of this.h.entries()) x = block.forward(x, { mask, cache: options.cache?.layer(i) });
    return this.lnF.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.wordEmbeddings);
  }

  get contextLength(): number {
    return this.#config.seqLength;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "bloom";

  checkpointPath(path: string): string {
    return `transformer.${renamed(path, { upProj: "denseHTo4h", downProj: "dense4hToH" })}`;
  }

  toConfig(): BloomConfig {
    return this.#config;
  }
}
