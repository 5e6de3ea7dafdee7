/**
 * GPT-J (Wang & Komatsuzaki 2021, "GPT-J-6B: A 6 billion parameter autoregressive language model").
 *
 * Notable: the first model whose attention and feed-forward block read the same norm and are added together ("parallel"); rotary
 * positions on the first `rotaryDim` features of each head, neighbours forming pairs; no biases in attention, but in the output.
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
import { Rotary } from "../../nn/rotary.js";
import { CausalLM, causalMask, type ForwardOptions, positionsOf, renamed } from "../causal-lm.js";
import { checkRotation, checkShared } from "../settings-check.js";

/** Names as in Hugging Face's `GPTJConfig`. */
export interface GPTJOptions {
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly nEmbd: number;
  readonly nLayer: number;
  readonly nHead: number;
  /** The longest context. Default 2048. */
  readonly nPositions?: number;
  /** Width of the feed-forward blocks. Default 4 · nEmbd. */
  readonly nInner?: number;
  /** How many features of a head are rotated. Default 64, or all where heads are narrower. */
  readonly rotaryDim?: number;
  readonly layerNormEpsilon?: number;
  readonly activationFunction?: ActivationName;
  /** Dropout after the embeddings, on attention weights and on what enters the residual stream. Default 0. */
  readonly embdPdrop?: number;
  readonly attnPdrop?: number;
  readonly residPdrop?: number;
  readonly initializerRange?: number;
}

export type GPTJConfig = Required<GPTJOptions>;

export class GPTJBlock extends Module {
  readonly ln1: LayerNorm;
  readonly attn: GroupedQueryAttention;
  readonly mlp: FeedForward;
  readonly #dropout: number;

  constructor({ nEmbd, nHead, nInner, attnPdrop, ...config }: GPTJConfig) {
    super();
    const initializer = normal(config.initializerRange);
    const heads = { headDim: nEmbd / nHead, heads: nHead, kvHeads: nHead };
    this.ln1 = new LayerNorm(nEmbd, { epsilon: config.layerNormEpsilon });
    this.attn = new GroupedQueryAttention({ hiddenSize: nEmbd, ...heads, initializer, dropout: attnPdrop });
    this.mlp = new FeedForward(nEmbd, nInner, activations[config.activationFunction], { initializer });
    this.#dropout = config.residPdrop;
  }

  /** x [batch, seq, nEmbd] → [batch, seq, nEmbd] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    const normalized = this.ln1.forward(x);
    const attended = dropout(this.attn.forward(normalized, inputs), this.#dropout, "attention");
    return add(add(attended, dropout(this.mlp.forward(normalized), this.#dropout, "mlp")), x);
  }
}

export class GPTJ extends CausalLM {
  readonly wte: Embedding;
  readonly h: readonly GPTJBlock[];
  readonly lnF: LayerNorm;
  readonly lmHead: Linear;
  readonly #config: GPTJConfig;

  constructor(options: GPTJOptions) {
    super();
    const config: GPTJConfig = {
      nPositions: 2048,
      nInner: 4 * options.nEmbd,
      rotaryDim: Math.min(64, options.nEmbd / options.nHead),
      layerNormEpsilon: 1e-5,
      activationFunction: "gelu_new",
      embdPdrop: 0,
      attnPdrop: 0,
      residPdrop: 0,
      initializerRange: 0.02,
      ...options,
    };
    const { vocabSize, nEmbd, nHead, nLayer, rotaryDim } = config;
    checkShared("GPTJ", { nEmbd }, { nHead });
    checkRotation("GPTJ", { rotaryDim, headDim: nEmbd / nHead, settings: { rotaryDim, nEmbd, nHead } });
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.wte = new Embedding(vocabSize, nEmbd, { initializer });
    this.h = Array.from({ length: nLayer }, () => new GPTJBlock(config));
    this.lnF = new LayerNorm(nEmbd, { epsilon: config.layerNormEpsilon });
    this.lmHead = new Linear(nEmbd, vocabSize, { initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { nEmbd, nHead, rotaryDim, embdPdrop } = this.#config;
    const rotary = new Rotary(positionsOf(ids, options), { headDim: nEmbd / nHead, rotaryDim, interleaved: true });
    const mask = causalMask(options);
    let x = dropout(this.wte.forward(ids), embdPdrop); // [batch, seq, nEmbd]
    for (const [i, block] of this.h.entries()) x = block.forward(x, { mask, rotary, cache: options.cache?.layer(i) });
    return this.lnF.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.lmHead);
  }

  get contextLength(): number {
    return this.#config.nPositions;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "gptj";

  checkpointPath(path: string): string {
    if (path.startsWith("lmHead.")) return path;
    return `transformer.${renamed(path, { oProj: "outProj", upProj: "fcIn", downProj: "fcOut" })}`;
  }

  toConfig(): GPTJConfig {
    return this.#config;
  }
}
