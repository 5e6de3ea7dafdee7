/**
 * GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners").
 *
 * Notable: learned positions; LayerNorm before each block and once at the end; GELU; biases everywhere; the output shares
 * its weight with the embedding; projections into the residual stream begin smaller by 1/√(number of them) (section 2.3).
 */

import { ArgumentError } from "../../errors.js";
import type { Dim } from "../../graph/dim.js";
import { geluTanh } from "../../graph/ops/activation.js";
import { add } from "../../graph/ops/arithmetic.js";
import { reshape, squeeze, transpose } from "../../graph/ops/shape.js";
import { split } from "../../graph/ops/shape-slice.js";
import type { Tensor } from "../../graph/tensor.js";
import { attend, type LayerCache, type Mask, mergeHeads } from "../../nn/attention.js";
import { dropout } from "../../nn/dropout.js";
import { normal, scaledNormal } from "../../nn/initializers.js";
import { Conv1D, Embedding } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import { CausalLM, causalMask, type ForwardOptions, positionsOf } from "../causal-lm.js";
import { checkShared } from "../settings-check.js";

/** Names as in Hugging Face's `GPT2Config`. */
export interface GPT2Options {
  readonly vocabSize: number;
  /** Width of the residual stream. Default 768. */
  readonly nEmbd?: number;
  readonly nLayer?: number;
  readonly nHead?: number;
  /** The longest context. Default 1024. */
  readonly nPositions?: number;
  /** Width of the feed-forward blocks. Default 4 · nEmbd. */
  readonly nInner?: number;
  readonly layerNormEpsilon?: number;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
  /** Dropout after the embeddings, on attention weights and on what enters the residual stream. Default 0. */
  readonly embdPdrop?: number;
  readonly attnPdrop?: number;
  readonly residPdrop?: number;
  /** Biases in linear maps and norms. Default true, as in the paper. */
  readonly bias?: boolean;
}

export type GPT2Config = Required<GPT2Options>;

function complete(options: GPT2Options): GPT2Config {
  const nEmbd = options.nEmbd ?? 768;
  const config: GPT2Config = {
    nEmbd,
    nLayer: 12,
    nHead: 12,
    nPositions: 1024,
    nInner: 4 * nEmbd,
    layerNormEpsilon: 1e-5,
    initializerRange: 0.02,
    embdPdrop: 0,
    attnPdrop: 0,
    residPdrop: 0,
    bias: true,
    ...options,
  };
  if (config.vocabSize < 2)
    throw new ArgumentError(`GPT2: a vocabulary needs at least 2 tokens, but vocabSize is ${config.vocabSize}.`);
  checkShared("GPT2", { nEmbd }, { nHead: config.nHead });
  return config;
}

/** Masked multi-head self-attention. */
export class GPT2Attention extends Module {
  readonly cAttn: Conv1D;
  readonly cProj: Conv1D;
  readonly #config: GPT2Config;

  constructor(config: GPT2Config) {
    super();
    const { nEmbd, nLayer, bias, initializerRange } = config;
    this.#config = config;
    this.cAttn = new Conv1D(nEmbd, 3 * nEmbd, { bias, initializer: normal(initializerRange) });
    this.cProj = new Conv1D(nEmbd, nEmbd, { bias, initializer: scaledNormal(initializerRange, nLayer) });
  }

  /** x [batch, seq, nEmbd] → [batch, seq, nEmbd] */
  forward(x: Tensor, mask: Mask, cache?: LayerCache): Tensor {
    const { nEmbd, nHead, attnPdrop, residPdrop } = this.#config;
    const [batch, seq] = x.shape as readonly [Dim, Dim, Dim];
    const heads = transpose(reshape(this.cAttn.forward(x), [batch, seq, 3, nHead, nEmbd / nHead]), [2, 0, 3, 1, 4]);
    const [q, k, v] = split(heads, 3, 0).map((part) => squeeze(part, 0)) as [Tensor, Tensor, Tensor]; // [batch, nHead, seq, headDim]
    const mixed = attend(q, k, v, { mask, cache, dropout: attnPdrop }); // [batch, nHead, seq, headDim]
    return dropout(this.cProj.forward(mergeHeads(mixed)), residPdrop);
  }
}

export class GPT2MLP extends Module {
  readonly cFc: Conv1D;
  readonly cProj: Conv1D;
  readonly #dropout: number;

  constructor({ nEmbd, nInner, nLayer, bias, initializerRange, residPdrop }: GPT2Config) {
    super();
    this.cFc = new Conv1D(nEmbd, nInner, { bias, initializer: normal(initializerRange) });
    this.cProj = new Conv1D(nInner, nEmbd, { bias, initializer: scaledNormal(initializerRange, nLayer) });
    this.#dropout = residPdrop;
  }

  /** x [batch, seq, nEmbd] → [batch, seq, nEmbd] */
  forward(x: Tensor): Tensor {
    return dropout(this.cProj.forward(geluTanh(this.cFc.forward(x))), this.#dropout);
  }
}

export class GPT2Block extends Module {
  readonly ln1: LayerNorm;
  readonly attn: GPT2Attention;
  readonly ln2: LayerNorm;
  readonly mlp: GPT2MLP;

  constructor(config: GPT2Config) {
    super();
    const norm = { epsilon: config.layerNormEpsilon, bias: config.bias };
    this.ln1 = new LayerNorm(config.nEmbd, norm);
    this.attn = new GPT2Attention(config);
    this.ln2 = new LayerNorm(config.nEmbd, norm);
    this.mlp = new GPT2MLP(config);
  }

  /** x [batch, seq, nEmbd] → [batch, seq, nEmbd] */
  forward(x: Tensor, mask: Mask, cache?: LayerCache): Tensor {
    const attended = add(x, this.attn.forward(this.ln1.forward(x), mask, cache));
    return add(attended, this.mlp.forward(this.ln2.forward(attended)));
  }
}

export class GPT2 extends CausalLM {
  readonly wte: Embedding;
  readonly wpe: Embedding;
  readonly h: readonly GPT2Block[];
  readonly lnF: LayerNorm;
  readonly #config: GPT2Config;

  constructor(options: GPT2Options) {
    super();
    const config = complete(options);
    const { vocabSize, nPositions, nEmbd, nLayer, initializerRange } = config;
    const initializer = normal(initializerRange);
    this.#config = config;
    this.wte = new Embedding(vocabSize, nEmbd, { initializer });
    this.wpe = new Embedding(nPositions, nEmbd, { initializer });
    this.h = Array.from({ length: nLayer }, () => new GPT2Block(config));
    this.lnF = new LayerNorm(nEmbd, { epsilon: config.layerNormEpsilon, bias: config.bias });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const mask = causalMask(options);
    let x = add(this.wte.forward(ids), this.wpe.forward(positionsOf(ids, options))); // [batch, seq, nEmbd]
    x = dropout(x, this.#config.embdPdrop);
    for (const [i, block] of this.h.entries()) x = block.forward(x, mask, options.cache?.layer(i));
    return this.lnF.forward(x);
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.wte);
  }

  get contextLength(): number {
    return this.#config.nPositions;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "gpt2";

  checkpointPath(path: string): string {
    return `transformer.${path}`;
  }

  toConfig(): GPT2Config {
    return this.#config;
  }
}
