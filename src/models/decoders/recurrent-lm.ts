/**
 * A recurrent language model (Mikolov et al. 2010; Graves 2013, "Generating sequences with recurrent neural networks"): what came
 * before is a state of fixed size, and not looked at again.
 */

import * as z from "zod";
import { ArgumentError } from "../../errors.js";
import type { Tensor } from "../../graph/tensor.js";
import { dropout } from "../../nn/dropout.js";
import { normal } from "../../nn/initializers.js";
import { Embedding, Linear } from "../../nn/linear.js";
import { linearLogits } from "../../nn/linear-cross-entropy.js";
import { type CellKind, Recurrent } from "../../nn/recurrent.js";
import { CausalLM, type ForwardOptions } from "../causal-lm.js";
import { architecture, camelKeys, count, share, snakeKeys } from "../configs/entries.js";

export interface RecurrentLMOptions {
  readonly vocabSize: number;
  readonly cell: CellKind;
  /** Width of the embeddings. Default: hiddenSize. */
  readonly embeddingSize?: number;
  readonly hiddenSize: number;
  /** Layers on top of each other. Default 1. */
  readonly layers?: number;
  /** Dropout after the embeddings and after each layer. Default 0. */
  readonly dropout?: number;
  /** How many tokens it reads at once. Default 256. */
  readonly contextLength?: number;
}

export type RecurrentLMConfig = Required<RecurrentLMOptions>;

export class RecurrentLM extends CausalLM {
  readonly embedding: Embedding;
  readonly network: Recurrent;
  readonly output: Linear;
  readonly #config: RecurrentLMConfig;

  constructor(options: RecurrentLMOptions) {
    super();
    const config = { embeddingSize: options.hiddenSize, layers: 1, dropout: 0, contextLength: 256, ...options };
    const { vocabSize, cell, embeddingSize, hiddenSize, layers } = config;
    this.#config = config;
    this.embedding = new Embedding(vocabSize, embeddingSize, { initializer: normal(1) });
    this.network = new Recurrent(cell, embeddingSize, hiddenSize, { layers, dropout: config.dropout });
    this.output = new Linear(hiddenSize, vocabSize);
  }

  hiddenStates(ids: Tensor, { cache, segments, keys }: ForwardOptions = {}): Tensor {
    if (cache || segments || keys)
      throw new ArgumentError(
        "A recurrent model reads every token in order: it has no cache, and no documents or padding in a row.",
      );
    const embedded = dropout(this.embedding.forward(ids), this.#config.dropout, "embedding"); // [batch, seq, embedding]
    return dropout(this.network.forward(embedded), this.#config.dropout, "output");
  }

  logits(hidden: Tensor): Tensor {
    return linearLogits(hidden, this.output);
  }

  get contextLength(): number {
    return this.#config.contextLength;
  }

  get vocabSize(): number {
    return this.#config.vocabSize;
  }

  readonly modelType = "recurrent_lm";

  checkpointPath(path: string): string {
    return path;
  }

  toConfig(): RecurrentLMConfig {
    return this.#config;
  }
}

/** Its own `config.json`: transformers has no such model. */
export const recurrentLM = architecture(
  "RecurrentLM",
  z.object({
    vocab_size: count,
    cell: z.enum(["rnn", "gru", "lstm"]),
    embedding_size: count,
    hidden_size: count,
    layers: count,
    dropout: share,
    context_length: count,
  }),
  (config) => new RecurrentLM(camelKeys(config)),
  snakeKeys,
);
