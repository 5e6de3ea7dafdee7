/** Models that read a whole text at once, each token in the light of all others: BERT and what grew from it. */

import type { Tensor } from "../graph/tensor.js";
import type { Embedding } from "../nn/linear.js";
import type { Module } from "../nn/module.js";
import { bool, int32 } from "../program/signature.js";
import { defineModelKind, Model } from "./model.js";

export interface EncoderInputs {
  /** Which tokens are real and not padding, bool [batch, seq]. Default: all. */
  readonly mask?: Tensor | undefined;
  /** The sentence that each token belongs to, int [batch, seq]. Default: the first, 0. */
  readonly tokenTypeIds?: Tensor | undefined;
  /** The position of each token, int [batch, seq]. Default: 0, 1, 2, ... */
  readonly positions?: Tensor | undefined;
}

/** What the heads over an encoder need to know of its family. */
export interface EncoderFamily {
  /** The encoder's name in a checkpoint with a head: `bert` in `bert.embeddings.word_embeddings.weight`. */
  readonly prefix: string;
  /** Names of the head of a masked language model in a checkpoint, by the property path here. */
  readonly maskedLMPaths: Readonly<Record<string, string>>;
}

export abstract class Encoder extends Model {
  readonly kind = "encoder" as const;
  abstract readonly vocabSize: number;
  abstract readonly hiddenSize: number;
  /** The most positions that it can look at. */
  abstract readonly contextLength: number;
  abstract readonly family: EncoderFamily;

  get prefix(): string {
    return this.family.prefix;
  }

  /** Share of features that heads drop in training before their last map. */
  abstract readonly classifierDropout: number;

  /** ids [batch, seq] → hidden states of the last layer [batch, seq, hidden] */
  abstract forward(ids: Tensor, inputs?: EncoderInputs): Tensor;

  /** What `pooled` computes with; a backbone that needs none may lack it. */
  abstract readonly pooler: Module | undefined;

  /** hidden [batch, seq, hidden] → what stands for the whole text [batch, hidden] */
  abstract pooled(hidden: Tensor): Tensor;

  /** The table of token embeddings, which the output of a masked language model is tied to. [vocab, hidden] */
  abstract get tokenEmbeddings(): Embedding;
}

declare module "./model.js" {
  interface ModelKinds {
    encoder: Encoder;
  }
}

/** The inputs of everything that reads text without looking at what follows from it. */
export const encoderInputs = () => ({
  ids: { spec: int32("batch", "seq") },
  tokenTypeIds: { spec: int32("batch", "seq"), optional: true },
  mask: { spec: bool("batch", "seq"), optional: true },
});

defineModelKind("encoder", {
  inputs: encoderInputs,
  outputs(model, { ids, ...inputs }) {
    const lastHiddenState = model.forward(ids as Tensor, inputs);
    return { lastHiddenState, ...(model.pooler && { poolerOutput: model.pooled(lastHiddenState) }) };
  },
});
