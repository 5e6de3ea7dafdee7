/**
 * BERT (Devlin et al. 2019, "BERT: Pre-training of deep bidirectional transformers", section 3): the encoder of the 2017 Transformer,
 * normalized after each block ("post-norm"), with learned positions and an embedding for which of two sentences a token belongs to.
 */

import * as z from "zod";
import { ArgumentError } from "../../errors.js";
import { add, tanh } from "../../graph/ops/arithmetic.js";
import { zerosLike } from "../../graph/ops/fill.js";
import { range } from "../../graph/ops/range.js";
import { select } from "../../graph/ops/shape-slice.js";
import type { Tensor } from "../../graph/tensor.js";
import { attend, type Mask, mergeHeads, splitHeads } from "../../nn/attention.js";
import { dropout } from "../../nn/dropout.js";
import { type ActivationName, activations } from "../../nn/feed-forward.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { Module } from "../../nn/module.js";
import { LayerNorm } from "../../nn/norm.js";
import { activation, camelKeys, count, defineArchitecture, epsilon, only, share, snakeKeys } from "../configs/entries.js";
import { classLabels, labelEntries } from "../configs/labels.js";
import { Encoder, type EncoderInputs } from "../encoder.js";
import { MaskedLM } from "../heads/masked-lm.js";
import { SequenceClassifier } from "../heads/sequence-classifier.js";
import { checkShared } from "../settings-check.js";

/** Names as in Hugging Face's `BertConfig`. */
export interface BertOptions {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Width of the feed-forward blocks. Default: 4 · hiddenSize. */
  readonly intermediateSize?: number;
  /** Default "gelu". */
  readonly hiddenAct?: ActivationName;
  /** Default 0.1. */
  readonly hiddenDropoutProb?: number;
  /** Default 0.1. */
  readonly attentionProbsDropoutProb?: number;
  /** Before the last map of a head. Default: hiddenDropoutProb. */
  readonly classifierDropout?: number | null;
  /** The longest text. Default 512. */
  readonly maxPositionEmbeddings?: number;
  /** Sentences that are told apart. Default 2. */
  readonly typeVocabSize?: number;
  /** Default 1e-12. */
  readonly layerNormEps?: number;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
  /** Whether it has a map of the first token's state, which classes of whole texts are told from. Default true. */
  readonly pooler?: boolean;
}

export type BertConfig = Required<BertOptions>;

const linearOf = (config: BertConfig, from: number, to: number): Linear =>
  new Linear(from, to, { initializer: normal(config.initializerRange) });

const normOf = ({ hiddenSize, layerNormEps }: BertConfig): LayerNorm => new LayerNorm(hiddenSize, { epsilon: layerNormEps });

/** Tokens, positions and sentences, added and normalized. */
export class BertEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly tokenTypeEmbeddings: Embedding;
  readonly norm: LayerNorm;

  constructor(private readonly config: BertConfig) {
    super();
    const table = (size: number) => new Embedding(size, config.hiddenSize, { initializer: normal(config.initializerRange) });
    this.wordEmbeddings = table(config.vocabSize);
    this.positionEmbeddings = table(config.maxPositionEmbeddings);
    this.tokenTypeEmbeddings = table(config.typeVocabSize);
    this.norm = normOf(config);
  }

  /** ids [batch, seq] → [batch, seq, hidden] */
  forward(ids: Tensor, { tokenTypeIds, positions }: EncoderInputs): Tensor {
    const words = this.wordEmbeddings.forward(ids);
    const places = this.positionEmbeddings.forward(positions ?? range(ids.size(1), "int64"));
    const sentences = this.tokenTypeEmbeddings.forward(tokenTypeIds ?? zerosLike(ids));
    return dropout(this.norm.forward(add(add(words, sentences), places)), this.config.hiddenDropoutProb);
  }
}

/** Multi-head self-attention, in both directions. */
export class BertAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;

  constructor(private readonly config: BertConfig) {
    super();
    const { hiddenSize } = config;
    this.query = linearOf(config, hiddenSize, hiddenSize);
    this.key = linearOf(config, hiddenSize, hiddenSize);
    this.value = linearOf(config, hiddenSize, hiddenSize);
    this.output = linearOf(config, hiddenSize, hiddenSize);
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, mask: Mask): Tensor {
    const { hiddenSize, numAttentionHeads, attentionProbsDropoutProb } = this.config;
    const heads = (map: Linear) => splitHeads(map.forward(x), hiddenSize / numAttentionHeads); // [batch, heads, seq, headDim]
    const mixed = attend(heads(this.query), heads(this.key), heads(this.value), { mask, dropout: attentionProbsDropoutProb });
    return this.output.forward(mergeHeads(mixed));
  }
}

/** Two blocks, each added to what flows past it and then normalized. */
export class BertLayer extends Module {
  readonly attention: BertAttention;
  readonly attentionNorm: LayerNorm;
  readonly intermediate: Linear;
  readonly output: Linear;
  readonly outputNorm: LayerNorm;

  constructor(private readonly config: BertConfig) {
    super();
    this.attention = new BertAttention(config);
    this.attentionNorm = normOf(config);
    this.intermediate = linearOf(config, config.hiddenSize, config.intermediateSize);
    this.output = linearOf(config, config.intermediateSize, config.hiddenSize);
    this.outputNorm = normOf(config);
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, mask: Mask): Tensor {
    const { hiddenAct, hiddenDropoutProb } = this.config;
    const dropped = (block: Tensor, name: string) => dropout(block, hiddenDropoutProb, name);
    const attended = this.attentionNorm.forward(add(x, dropped(this.attention.forward(x, mask), "attention")));
    const widened = activations[hiddenAct](this.intermediate.forward(attended));
    return this.outputNorm.forward(add(attended, dropped(this.output.forward(widened), "output")));
  }
}

/** Property names where they differ from those in checkpoints. */
const checkpointNames: Readonly<Record<string, string>> = {
  "embeddings.norm": "embeddings.$Layer$Norm",
  "attention.query": "attention.self.query",
  "attention.key": "attention.self.key",
  "attention.value": "attention.self.value",
  "attention.output": "attention.output.dense",
  attentionNorm: "attention.output.$Layer$Norm",
  intermediate: "intermediate.dense",
  output: "output.dense",
  outputNorm: "output.$Layer$Norm",
};

export class Bert extends Encoder {
  readonly embeddings: BertEmbeddings;
  readonly layers: readonly BertLayer[];
  readonly pooler: Linear | undefined;
  readonly #config: BertConfig;

  constructor(options: BertOptions) {
    super();
    const config = completeBert(options);
    this.#config = config;
    this.embeddings = new BertEmbeddings(config);
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new BertLayer(config));
    this.pooler = config.pooler ? linearOf(config, config.hiddenSize, config.hiddenSize) : undefined;
  }

  forward(ids: Tensor, inputs: EncoderInputs = {}): Tensor {
    const mask: Mask = inputs.mask ? { keys: inputs.mask } : {};
    let x = this.embeddings.forward(ids, inputs); // [batch, seq, hidden]
    for (const layer of this.layers) x = layer.forward(x, mask);
    return x;
  }

  /** The state of the first token, [CLS], through a map of its own and tanh. */
  pooled(hidden: Tensor): Tensor {
    const { pooler } = this;
    if (!pooler) throw new ArgumentError("This BERT was made without a pooler, so nothing stands for the whole text.");
    return this.within(() => tanh(pooler.forward(select(hidden, 1, 0))));
  }

  get tokenEmbeddings(): Embedding {
    return this.embeddings.wordEmbeddings;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  get hiddenSize(): number {
    return this.#config.hiddenSize;
  }

  get contextLength(): number {
    return this.#config.maxPositionEmbeddings;
  }

  get classifierDropout(): number {
    return this.#config.classifierDropout ?? this.#config.hiddenDropoutProb;
  }

  get modelType(): string {
    return "bert";
  }

  readonly family = {
    prefix: "bert",
    maskedLMPaths: {
      "transform.weight": "cls.predictions.transform.dense.weight",
      "transform.bias": "cls.predictions.transform.dense.bias",
      "norm.weight": "cls.predictions.transform.$Layer$Norm.weight",
      "norm.bias": "cls.predictions.transform.$Layer$Norm.bias",
      outputBias: "cls.predictions.bias",
    },
  };

  /** `layers.0.attention.query.weight` is `encoder.layer.0.attention.self.query.weight`. */
  checkpointPath(path: string): string {
    const [module = "", parameter = ""] = [path.slice(0, path.lastIndexOf(".")), path.slice(path.lastIndexOf(".") + 1)];
    const inLayer = /^layers\.(\d+)\.(.+)$/.exec(module);
    if (inLayer) return `encoder.layer.${inLayer[1]}.${checkpointNames[inLayer[2] as string]}.${parameter}`;
    if (module === "pooler") return `pooler.dense.${parameter}`;
    return `${checkpointNames[module] ?? module}.${parameter}`;
  }

  override get checkpointMatch() {
    return {
      // An encoder alone has no prefix; the first release called the weights of norms gamma and beta.
      otherNames: (name: string) => {
        const bare = name.replace(/^bert\./, "");
        const names = [bare, `bert.${bare}`];
        return [
          ...names,
          ...names.map((other) => other.replace(/(LayerNorm)\.weight$/, "$1.gamma").replace(/(LayerNorm)\.bias$/, "$1.beta")),
        ];
      },
      ignore: (name: string) => /(^|\.)embeddings\.position_ids$/.test(name) || /^(cls|classifier|qa_outputs)\./.test(name),
    };
  }

  toConfig(): BertConfig {
    return this.#config;
  }
}

/** Settings as they are when nothing is said. */
function completeBert(options: BertOptions): BertConfig {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as unknown as BertOptions;
  const config: BertConfig = {
    intermediateSize: 4 * options.hiddenSize,
    hiddenAct: "gelu",
    hiddenDropoutProb: 0.1,
    attentionProbsDropoutProb: 0.1,
    classifierDropout: null,
    maxPositionEmbeddings: 512,
    typeVocabSize: 2,
    layerNormEps: 1e-12,
    initializerRange: 0.02,
    pooler: true,
    ...given,
  };
  const { hiddenSize, numAttentionHeads, vocabSize } = config;
  if (vocabSize < 2) throw new ArgumentError(`Bert: a vocabulary needs at least 2 tokens, but vocabSize is ${vocabSize}.`);
  checkShared("Bert", { hiddenSize }, { numAttentionHeads });
  return config;
}

const entries = {
  vocab_size: count.default(30_522),
  hidden_size: count.default(768),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  intermediate_size: count.default(3072),
  hidden_act: activation.default("gelu"),
  hidden_dropout_prob: share.default(0.1),
  attention_probs_dropout_prob: share.default(0.1),
  classifier_dropout: share.nullish(),
  max_position_embeddings: count.default(512),
  type_vocab_size: count.default(2),
  layer_norm_eps: epsilon.default(1e-12),
  initializer_range: z.number().positive().default(0.02),
  position_embedding_type: only("absolute", null),
  is_decoder: only(false),
  add_cross_attention: only(false),
  tie_word_embeddings: only(true),
};

const bertOf = (config: z.output<z.ZodObject<typeof entries>>, pooler = true): Bert => {
  const { position_embedding_type: _p, is_decoder: _d, add_cross_attention: _c, tie_word_embeddings: _t, ...own } = config;
  return new Bert({ ...camelKeys(own), classifierDropout: own.classifier_dropout ?? null, pooler });
};

const bertEntries = ({ pooler, ...config }: BertConfig) => snakeKeys(config);

export const bert = defineArchitecture({
  kind: "encoder",
  className: "BertModel",
  entries: z.object(entries),
  make: bertOf,
  write: (model) => bertEntries(model.toConfig() as BertConfig),
});

export const bertMaskedLM = defineArchitecture({
  kind: "masked-lm",
  className: "BertForMaskedLM",
  entries: z.object(entries),
  make: (config) => {
    const { hidden_act: hiddenActivation, layer_norm_eps, initializer_range: initializerRange } = config;
    return new MaskedLM(bertOf(config, false), { activation: hiddenActivation, epsilon: layer_norm_eps, initializerRange });
  },
  write: (model) => bertEntries(model.toConfig() as BertConfig),
});

export const bertClassifier = defineArchitecture({
  kind: "sequence-classifier",
  className: "BertForSequenceClassification",
  entries: z.object({ ...entries, ...classLabels }),
  make: ({ id2label, label2id, num_labels, ...config }) =>
    new SequenceClassifier(bertOf(config), { labels: labelEntries.read({ id2label, num_labels }) }),
  write: (model) => ({ ...bertEntries(model.toConfig().backbone as BertConfig), ...labelEntries.write(model.labels) }),
});
