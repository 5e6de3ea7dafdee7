/**
 * The Llama-style decoder (Touvron et al. 2023, "LLaMA", section 2.2), and the many that grew from it.
 *
 * Notable: RMSNorm before each block and once at the end; rotary positions instead of learned ones; SwiGLU; grouped-query
 * attention, in which several query heads share a key and value head; the embedding may or may not also be the output.
 * What the others change is a setting here: a sliding window (Mistral), biases on queries, keys and values (Qwen 2), queries and
 * keys normalized (Qwen 3, MiniMind), layers without positions (SmolLM 3), experts in place of the SwiGLU (Mixtral, Qwen 3,
 * MiniMind). `llama-options.ts` says which is which.
 */

import { add, mul } from "../../graph/ops/arithmetic.js";
import { and, greater } from "../../graph/ops/compare.js";
import type { Tensor } from "../../graph/tensor.js";
import { isTraining } from "../../graph/trace.js";
import { activations, GatedFeedForward } from "../../nn/feed-forward.js";
import { type AttentionInputs, GroupedQueryAttention, type QueryKeyNorm } from "../../nn/grouped-query-attention.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits, type TrainingLosses } from "../../nn/linear-cross-entropy.js";
import { loadBalancingLoss, MixtureOfExperts, type Routing } from "../../nn/mixture-of-experts.js";
import { Module } from "../../nn/module.js";
import { RMSNorm } from "../../nn/norm.js";
import { CausalLM, causalMask, contextOf, type ForwardOptions, type LossOptions, rotaryOf } from "../causal-lm.js";
import { completeLlama, type LlamaConfig, type LlamaOptions } from "./llama-options.js";

/** The attention of a layer. */
export function attentionOf(config: LlamaConfig): GroupedQueryAttention {
  const { hiddenSize, headDim, numAttentionHeads: heads, numKeyValueHeads: kvHeads, attentionBias, rmsNormEps } = config;
  const headNorm = () => new RMSNorm(headDim, { epsilon: rmsNormEps });
  const norm: QueryKeyNorm | undefined = config.queryKeyNorm ? { query: headNorm(), key: headNorm(), over: "heads" } : undefined;
  return new GroupedQueryAttention({
    ...{ hiddenSize, headDim, heads, kvHeads, norm, dropout: config.attentionDropout },
    bias: attentionBias !== false,
    outputBias: attentionBias === true,
    initializer: normal(config.initializerRange),
  });
}

/** What a layer does to each position by itself. */
export function feedForwardOf(config: LlamaConfig, layer: number): GatedFeedForward | MixtureOfExperts {
  const { hiddenSize, intermediateSize, experts, mlpBias } = config;
  const [activation, initializer] = [activations[config.hiddenAct], normal(config.initializerRange)];
  if (!experts || experts.denseLayers?.includes(layer))
    return new GatedFeedForward(hiddenSize, intermediateSize, activation, { bias: mlpBias, initializer });
  return new MixtureOfExperts({
    ...{ hiddenSize, activation, initializer, experts: experts.count, expertsPerToken: experts.perToken },
    ...{ intermediateSize: experts.intermediateSize, normalizeWeights: experts.normalizeWeights },
    sharedExperts: experts.shared ?? 0,
  });
}

/** Two blocks, each behind a norm and added to what flows past it ("pre-norm"). */
export class LlamaLayer extends Module {
  readonly inputLayernorm: RMSNorm;
  readonly selfAttn: GroupedQueryAttention;
  readonly postAttentionLayernorm: RMSNorm;
  readonly mlp: GatedFeedForward | MixtureOfExperts;

  constructor(config: LlamaConfig, layer: number) {
    super();
    const norm = { epsilon: config.rmsNormEps };
    this.inputLayernorm = new RMSNorm(config.hiddenSize, norm);
    this.selfAttn = attentionOf(config);
    this.postAttentionLayernorm = new RMSNorm(config.hiddenSize, norm);
    this.mlp = feedForwardOf(config, layer);
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, inputs: AttentionInputs, routings?: Routing[]): Tensor {
    const attended = add(x, this.selfAttn.forward(this.inputLayernorm.forward(x), inputs));
    return add(attended, this.mlp.forward(this.postAttentionLayernorm.forward(attended), routings));
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
    const config = completeLlama(options);
    const initializer = normal(config.initializerRange);
    this.#config = config;
    this.embedTokens = new Embedding(config.vocabSize, config.hiddenSize, { initializer });
    this.layers = Array.from({ length: config.numHiddenLayers }, (_, layer) => new LlamaLayer(config, layer));
    this.norm = new RMSNorm(config.hiddenSize, { epsilon: config.rmsNormEps });
    this.lmHead = config.tieWordEmbeddings
      ? undefined
      : new Linear(config.hiddenSize, config.vocabSize, { bias: false, initializer });
  }

  hiddenStates(ids: Tensor, options: ForwardOptions = {}, routings?: Routing[]): Tensor {
    const { slidingWindow, layerTypes, noRopeLayers } = this.#config;
    const rotary = rotaryOf(ids, options, this.#config);
    const full = causalMask(options);
    const sliding = { ...full, window: slidingWindow ?? undefined };
    let x = this.embedTokens.forward(ids); // [batch, seq, hidden]
    for (const [i, layer] of this.layers.entries()) {
      const slides = slidingWindow !== null && layerTypes?.[i] !== "full_attention";
      const inputs: AttentionInputs = {
        mask: slides ? sliding : full,
        rotary: noRopeLayers?.[i] === 0 ? undefined : rotary,
        cache: options.cache?.layer(i),
      };
      x = layer.forward(x, inputs, routings);
    }
    return this.norm.forward(x);
  }

  /** With experts, their load-balancing loss belongs to it in training. */
  override losses(ids: Tensor, labels: Tensor, options: LossOptions = {}): TrainingLosses {
    const { balancing = 0, balancedBy = "model" } = this.#config.experts ?? {};
    if (balancing === 0 || !isTraining()) return super.losses(ids, labels, options);
    return this.within(() => {
      const routings: Routing[] = [];
      const { loss, crossEntropy } = this.lossOfHidden(this.hiddenStates(ids, options, routings), labels, options);
      const together = balancedBy === "model" ? [routings] : routings.map((routing) => [routing]);
      const counted = together.filter(({ length }) => length > 0);
      const counting = { real: realTokens(options), perText: balancedBy === "text" };
      const balanced = counted.map((layers) => mul(loadBalancingLoss(layers, counting), balancing));
      return { loss: balanced.reduce((sum, part) => add(sum, part), loss), crossEntropy };
    });
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
    if (path.startsWith("lmHead.")) return path;
    return `model.${this.#config.modelType === "mixtral" ? mixtralPath(path) : path}`;
  }

  toConfig(): LlamaConfig {
    return this.#config;
  }
}

/** Which tokens are not padding, bool [batch, seq]; `undefined` where all are real. */
function realTokens({ keys, segments }: ForwardOptions): Tensor | undefined {
  const filled = segments && greater(segments, 0);
  return keys && filled ? and(keys, filled) : (keys ?? filled);
}

/** Mixtral's experts have their own names: `block_sparse_moe.experts.0.w1` is the gate, `w3` the map up, `w2` the one down. */
const mixtralPath = (path: string): string =>
  path
    .replace(".mlp.", ".blockSparseMoe.")
    .replace(/\.(gate|up|down)Proj\./, (_, map: string) => `.w$${{ gate: 1, up: 3, down: 2 }[map]}.`);
