/**
 * Command R (Cohere 2024) and Command R7B / A (Cohere Team 2025, "Command A: An enterprise-ready large language model", section 2.1).
 *
 * Notable: attention and feed-forward block read the same norm and are added together ("parallel"); LayerNorm without bias;
 * rotary positions turn neighbouring features; logits are scaled. The first kind may normalize the queries and keys of each head
 * with weights of its own; in the second, three layers with a window and rotary positions alternate with one that sees
 * everything and has no positions.
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
import { HeadLayerNorm, LayerNorm } from "../../nn/norm.js";
import { parallelBlocks } from "../../nn/residual.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, type LayerType, rotaryOf } from "../causal-lm.js";
import { checkHeads, checkLayers } from "../settings-check.js";

/** Names as in Hugging Face's `CohereConfig` and `Cohere2Config`. */
export interface CohereOptions {
  /** Default "cohere". "cohere2" has window layers, and no positions in the others. */
  readonly modelType?: "cohere" | "cohere2";
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Default: as many as query heads. */
  readonly numKeyValueHeads?: number;
  /** Factor on the logits. Default 0.0625. */
  readonly logitScale?: number;
  /** The longest context. Default 8192. */
  readonly maxPositionEmbeddings?: number;
  readonly layerNormEps?: number;
  /** Default 500,000 (cohere), 10,000 (cohere2). */
  readonly ropeTheta?: number;
  readonly ropeScaling?: RopeScaling | null;
  /** LayerNorm on each head's queries and keys (cohere). Default false. */
  readonly useQkNorm?: boolean;
  /** How many keys, its own included, a query of a window layer sees (cohere2). Default 4096. */
  readonly slidingWindow?: number | null;
  /** Default: three layers with a window, one without (cohere2). */
  readonly layerTypes?: readonly LayerType[] | null;
  readonly hiddenAct?: ActivationName;
  readonly attentionBias?: boolean;
  readonly attentionDropout?: number;
  readonly tieWordEmbeddings?: boolean;
  readonly initializerRange?: number;
}

export type CohereConfig = Required<CohereOptions>;

function complete(options: CohereOptions): CohereConfig {
  const { modelType = "cohere", numHiddenLayers } = options;
  const isSecond = modelType === "cohere2";
  const threeInFour = (_: unknown, i: number): LayerType => ((i + 1) % 4 === 0 ? "full_attention" : "sliding_attention");
  const config: CohereConfig = {
    modelType,
    numKeyValueHeads: options.numAttentionHeads,
    logitScale: 0.0625,
    maxPositionEmbeddings: 8192,
    layerNormEps: 1e-5,
    ropeTheta: isSecond ? 10_000 : 500_000,
    ropeScaling: null,
    useQkNorm: false,
    slidingWindow: isSecond ? 4096 : null,
    layerTypes: isSecond ? Array.from({ length: numHiddenLayers }, threeInFour) : null,
    hiddenAct: "silu",
    attentionBias: false,
    attentionDropout: 0,
    tieWordEmbeddings: true,
    initializerRange: 0.02,
    ...options,
  };
  if (isSecond ? config.useQkNorm : config.slidingWindow !== null || config.layerTypes !== null)
    throw new ArgumentError(`Cohere: a ${modelType} model has no ${isSecond ? "useQkNorm" : "slidingWindow and layerTypes"}.`);
  checkLayers("Cohere", numHiddenLayers, { layerTypes: config.layerTypes });
  checkHeads("Cohere", config);
  return config;
}

export class CohereLayer extends Module {
  readonly inputLayernorm: LayerNorm;
  readonly selfAttn: GroupedQueryAttention;
  readonly mlp: GatedFeedForward;

  constructor(config: CohereConfig) {
    super();
    const {
      hiddenSize,
      numAttentionHeads: heads,
      numKeyValueHeads: kvHeads,
      attentionBias: bias,
      layerNormEps: epsilon,
    } = config;
    const headDim = hiddenSize / heads;
    const initializer = normal(config.initializerRange);
    const headNorm = (count: number) => new HeadLayerNorm(count, headDim, { epsilon });
    this.inputLayernorm = new LayerNorm(hiddenSize, { epsilon, bias: false });
    this.selfAttn = new GroupedQueryAttention({
      ...{ hiddenSize, headDim, heads, kvHeads, bias, outputBias: bias, initializer, dropout: config.attentionDropout },
      norm: config.useQkNorm ? { query: headNorm(heads), key: headNorm(kvHeads), over: "heads" } : undefined,
    });
    this.mlp = new GatedFeedForward(hiddenSize, config.intermediateSize, activations[config.hiddenAct], { initializer });
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs): Tensor {
    return parallelBlocks(x, this.inputLayernorm, (y) => this.selfAttn.forward(y, inputs), this.mlp);
  }
}

export class Cohere extends CausalLM {
  readonly embedTokens: Embedding;
  readonly layers: readonly CohereLayer[];
  readonly norm: LayerNorm;
  readonly lmHead: Linear | undefined;
  readonly #config: CohereConfig;

  constructor(options: CohereOptions) {
    super();
    const config = complete(options);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, { initializer });
    this.layers = Array.from({ length: numHiddenLayers }, () => new CohereLayer(config));
    this.norm = new LayerNorm(hiddenSize, { epsilon: config.layerNormEps, bias: false });
    this.lmHead = config.tieWordEmbeddings ? undefined : new Linear(hiddenSize, vocabSize, { bias: false, initializer });
  }

  /** Scaled as the logits are to be. */
  hiddenStates(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { hiddenSize, numAttentionHeads, slidingWindow, layerTypes } = this.#config;
    const headDim = hiddenSize / numAttentionHeads;
    const rotary = rotaryOf(ids, options, { ...this.#config, headDim, interleaved: true });
    const mask = causalMask(options);
    const sliding: AttentionInputs = { mask: { ...mask, window: slidingWindow ?? undefined }, rotary };
    const full: AttentionInputs = layerTypes ? { mask } : { mask, rotary };
    let x = this.embedTokens.forward(ids); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) {
      const inputs = layerTypes?.[i] === "sliding_attention" ? sliding : full;
      x = layer.forward(x, { ...inputs, cache: options.cache?.layer(i) });
    }
    return mul(this.norm.forward(x), this.#config.logitScale);
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

  get modelType(): string {
    return this.#config.modelType;
  }

  checkpointPath(path: string): string {
    return path.startsWith("lmHead.") ? path : `model.${path}`;
  }

  toConfig(): CohereConfig {
    return this.#config;
  }
}
