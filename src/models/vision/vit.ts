/**
 * The Vision Transformer (Dosovitskiy et al. 2021, "An image is worth 16x16 words", section 3.1): a picture is cut into patches, each
 * patch becomes a token through one linear map, and an encoder with norms before its blocks ("pre-norm") reads them.
 */

import * as z from "zod";
import { ArgumentError } from "../../errors.js";
import { add, tanh } from "../../graph/ops/arithmetic.js";
import { broadcastTo } from "../../graph/ops/broadcasting.js";
import { reshape, transpose } from "../../graph/ops/shape.js";
import { concat, select } from "../../graph/ops/shape-slice.js";
import type { Tensor } from "../../graph/tensor.js";
import { Parameter } from "../../graph/variable.js";
import { attend, mergeHeads, splitHeads } from "../../nn/attention.js";
import { Conv2d } from "../../nn/conv.js";
import { dropout } from "../../nn/dropout.js";
import { type ActivationName, activations } from "../../nn/feed-forward.js";
import { normal } from "../../nn/initializers.js";
import { Linear } from "../../nn/linear.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import { activation, camelKeys, count, defineArchitecture, epsilon, flag, share, snakeKeys } from "../configs/entries.js";
import { classLabels, labelEntries } from "../configs/labels.js";
import { ImageClassifier } from "../heads/image-classifier.js";
import { checkShared } from "../settings-check.js";
import { VisionModel } from "../vision-model.js";

/** Names as in Hugging Face's `ViTConfig`. */
export interface ViTOptions {
  /** Width and height of the pictures. */
  readonly imageSize: number;
  /** Width and height of a patch. */
  readonly patchSize: number;
  /** Default 3. */
  readonly numChannels?: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Width of the feed-forward blocks. Default: 4 · hiddenSize. */
  readonly intermediateSize?: number;
  /** Default "gelu". */
  readonly hiddenAct?: ActivationName;
  /** Default 0. */
  readonly hiddenDropoutProb?: number;
  /** Default 0. */
  readonly attentionProbsDropoutProb?: number;
  /** Default 1e-12. */
  readonly layerNormEps?: number;
  /** Biases of the maps to queries, keys and values. Default true. */
  readonly qkvBias?: boolean;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
  /** Whether it has a map of the first token's state and tanh, as `ViTModel` of transformers; classifiers have none. Default false. */
  readonly pooler?: boolean;
}

export type ViTConfig = Required<ViTOptions>;

const linearOf = ({ initializerRange }: ViTConfig, from: number, to: number, bias = true): Linear =>
  new Linear(from, to, { bias, initializer: normal(initializerRange) });

const normOf = ({ hiddenSize, layerNormEps }: ViTConfig): LayerNorm => new LayerNorm(hiddenSize, { epsilon: layerNormEps });

/** Patches as tokens, behind one that stands for the whole picture; all with learned positions. */
export class ViTEmbeddings extends Module {
  readonly clsToken: Parameter;
  readonly positionEmbeddings: Parameter;
  readonly projection: Conv2d;

  constructor(private readonly config: ViTConfig) {
    super();
    const { imageSize, patchSize, numChannels, hiddenSize, initializerRange } = config;
    const initializer = normal(initializerRange);
    const patches = (imageSize / patchSize) ** 2;
    this.clsToken = new Parameter([1, 1, hiddenSize], { initializer });
    this.positionEmbeddings = new Parameter([1, patches + 1, hiddenSize], { initializer });
    this.projection = new Conv2d(numChannels, hiddenSize, { kernel: patchSize, stride: patchSize, initializer });
  }

  /** pixels [batch, channels, height, width] → [batch, 1 + patches, hidden] */
  forward(pixels: Tensor): Tensor {
    const { imageSize, patchSize, hiddenSize, hiddenDropoutProb } = this.config;
    const batch = pixels.size(0);
    const projected = this.projection.forward(pixels); // [batch, hidden, height / patchSize, width / patchSize]
    const patches = transpose(reshape(projected, [batch, hiddenSize, (imageSize / patchSize) ** 2]), [0, 2, 1]);
    const tokens = concat([broadcastTo(this.clsToken, [batch, 1, hiddenSize]), patches], 1);
    return dropout(add(tokens, this.positionEmbeddings), hiddenDropoutProb);
  }
}

/** Multi-head self-attention among all patches. */
export class ViTAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;

  constructor(private readonly config: ViTConfig) {
    super();
    const { hiddenSize, qkvBias } = config;
    this.query = linearOf(config, hiddenSize, hiddenSize, qkvBias);
    this.key = linearOf(config, hiddenSize, hiddenSize, qkvBias);
    this.value = linearOf(config, hiddenSize, hiddenSize, qkvBias);
    this.output = linearOf(config, hiddenSize, hiddenSize);
  }

  /** x [batch, tokens, hidden] → [batch, tokens, hidden] */
  forward(x: Tensor): Tensor {
    const { hiddenSize, numAttentionHeads, attentionProbsDropoutProb, hiddenDropoutProb } = this.config;
    const heads = (map: Linear) => splitHeads(map.forward(x), hiddenSize / numAttentionHeads); // [batch, heads, tokens, headDim]
    const mixed = attend(heads(this.query), heads(this.key), heads(this.value), { dropout: attentionProbsDropoutProb });
    return dropout(this.output.forward(mergeHeads(mixed)), hiddenDropoutProb);
  }
}

/** Two blocks, each behind a norm and added to what flows past it. */
export class ViTLayer extends Module {
  readonly normBefore: LayerNorm;
  readonly attention: ViTAttention;
  readonly normAfter: LayerNorm;
  readonly intermediate: Linear;
  readonly output: Linear;

  constructor(private readonly config: ViTConfig) {
    super();
    this.normBefore = normOf(config);
    this.attention = new ViTAttention(config);
    this.normAfter = normOf(config);
    this.intermediate = linearOf(config, config.hiddenSize, config.intermediateSize);
    this.output = linearOf(config, config.intermediateSize, config.hiddenSize);
  }

  /** x [batch, tokens, hidden] → [batch, tokens, hidden] */
  forward(x: Tensor): Tensor {
    const attended = add(x, this.attention.forward(this.normBefore.forward(x)));
    const widened = activations[this.config.hiddenAct](this.intermediate.forward(this.normAfter.forward(attended)));
    return add(attended, dropout(this.output.forward(widened), this.config.hiddenDropoutProb));
  }
}

/** Property names where they differ from those in checkpoints. */
const checkpointNames: Readonly<Record<string, string>> = {
  normBefore: "layernormBefore",
  normAfter: "layernormAfter",
  "attention.query": "attention.attention.query",
  "attention.key": "attention.attention.key",
  "attention.value": "attention.attention.value",
  "attention.output": "attention.output.dense",
  intermediate: "intermediate.dense",
  output: "output.dense",
  "embeddings.projection": "embeddings.patchEmbeddings.projection",
  norm: "layernorm",
  pooler: "pooler.dense",
};

export class ViT extends VisionModel {
  readonly embeddings: ViTEmbeddings;
  readonly layers: readonly ViTLayer[];
  readonly norm: LayerNorm;
  readonly pooler: Linear | undefined;
  readonly prefix = "vit";
  readonly #config: ViTConfig;

  constructor(options: ViTOptions) {
    super();
    const config = completeViT(options);
    this.#config = config;
    this.embeddings = new ViTEmbeddings(config);
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new ViTLayer(config));
    this.norm = normOf(config);
    this.pooler = config.pooler ? linearOf(config, config.hiddenSize, config.hiddenSize) : undefined;
  }

  forward(pixels: Tensor): Tensor {
    let x = this.embeddings.forward(pixels); // [batch, 1 + patches, hidden]
    for (const layer of this.layers) x = layer.forward(x);
    return this.norm.forward(x);
  }

  /** The state of the token in front of the patches, through the pooler where there is one. */
  pooled(hidden: Tensor): Tensor {
    const first = select(hidden, 1, 0);
    const { pooler } = this;
    return pooler ? this.within(() => tanh(pooler.forward(first))) : first;
  }

  get hiddenSize(): number {
    return this.#config.hiddenSize;
  }

  get imageSize(): number {
    return this.#config.imageSize;
  }

  get numChannels(): number {
    return this.#config.numChannels;
  }

  get modelType(): string {
    return "vit";
  }

  /** `layers.0.attention.query.weight` is `encoder.layer.0.attention.attention.query.weight`. */
  checkpointPath(path: string): string {
    const [, layer, module = "", parameter = ""] = /^(?:layers\.(\d+)\.)?(.+)\.([^.]+)$/.exec(path) ?? [];
    const name = `${checkpointNames[module] ?? module}.${parameter}`;
    return layer === undefined ? name : `encoder.layer.${layer}.${name}`;
  }

  override get checkpointMatch() {
    return {
      otherNames: (name: string) => [name.replace(/^vit\./, ""), `vit.${name}`], // a model without a head has no prefix
      ignore: (name: string) => /^classifier\./.test(name),
    };
  }

  toConfig(): ViTConfig {
    return this.#config;
  }
}

/** Settings as they are when nothing is said. */
function completeViT(options: ViTOptions): ViTConfig {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as unknown as ViTOptions;
  const config: ViTConfig = {
    numChannels: 3,
    intermediateSize: 4 * options.hiddenSize,
    hiddenAct: "gelu",
    hiddenDropoutProb: 0,
    attentionProbsDropoutProb: 0,
    layerNormEps: 1e-12,
    qkvBias: true,
    initializerRange: 0.02,
    pooler: false,
    ...given,
  };
  const { hiddenSize, numAttentionHeads, imageSize, patchSize } = config;
  checkShared("ViT", { hiddenSize }, { numAttentionHeads });
  if (imageSize % patchSize !== 0)
    throw new ArgumentError(
      `ViT: pictures of ${imageSize} × ${imageSize} cannot be cut into patches of ${patchSize} × ${patchSize}.`,
    );
  return config;
}

const entries = {
  image_size: count.default(224),
  patch_size: count.default(16),
  num_channels: count.default(3),
  hidden_size: count.default(768),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  intermediate_size: count.default(3072),
  hidden_act: activation.default("gelu"),
  hidden_dropout_prob: share.default(0),
  attention_probs_dropout_prob: share.default(0),
  layer_norm_eps: epsilon.default(1e-12),
  qkv_bias: flag(true),
  initializer_range: z.number().positive().default(0.02),
};

const vitEntries = ({ pooler, ...config }: ViTConfig) => snakeKeys(config);

export const vit = defineArchitecture({
  kind: "vision",
  className: "ViTModel",
  entries: z.object(entries),
  make: (config) => new ViT({ ...camelKeys(config), pooler: true }),
  write: (model) => vitEntries(model.toConfig() as ViTConfig),
});

export const vitClassifier = defineArchitecture({
  kind: "image-classifier",
  className: "ViTForImageClassification",
  entries: z.object({ ...entries, ...classLabels }),
  make: ({ id2label, label2id, num_labels, ...config }) =>
    new ImageClassifier(new ViT(camelKeys(config)), { labels: labelEntries.read({ id2label, num_labels }) }),
  write: (model) => ({ ...vitEntries(model.toConfig().backbone as ViTConfig), ...labelEntries.write(model.labels) }),
});
