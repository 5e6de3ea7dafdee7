/** Classes of whole texts: a linear map over what an encoder makes of them (Devlin et al. 2019, "BERT", section 4.1). */

import { ArgumentError } from "../../errors.js";
import type { Tensor } from "../../graph/tensor.js";
import { dropout } from "../../nn/dropout.js";
import { normal } from "../../nn/initializers.js";
import { Linear } from "../../nn/linear.js";
import { type Encoder, type EncoderInputs, encoderInputs } from "../encoder.js";
import { defineModelKind } from "../model.js";
import { Head } from "./head.js";

export interface SequenceClassifierOptions {
  /** The names of the classes, in the order of the logits. */
  readonly labels: readonly string[];
}

export class SequenceClassifier extends Head<Encoder> {
  readonly kind = "sequence-classifier" as const;
  readonly classifier: Linear;
  readonly labels: readonly string[];

  constructor(backbone: Encoder, { labels }: SequenceClassifierOptions) {
    super(backbone);
    if (labels.length === 0) throw new ArgumentError("A classifier needs at least one label, but none was given.");
    this.labels = [...labels];
    this.classifier = new Linear(backbone.hiddenSize, labels.length, { initializer: normal(0.02) });
  }

  /** ids [batch, seq] → logits [batch, labels] */
  forward(ids: Tensor, inputs: EncoderInputs = {}): Tensor {
    const pooled = this.backbone.pooled(this.backbone.forward(ids, inputs)); // [batch, hidden]
    return this.classifier.forward(dropout(pooled, this.backbone.classifierDropout, "pooled"));
  }

  toConfig(): { readonly labels: readonly string[]; readonly backbone: object } {
    return { labels: this.labels, backbone: this.backbone.toConfig() };
  }
}

declare module "../model.js" {
  interface ModelKinds {
    "sequence-classifier": SequenceClassifier;
  }
}

defineModelKind("sequence-classifier", {
  inputs: encoderInputs,
  outputs: (model, { ids, ...inputs }) => ({ logits: model.forward(ids as Tensor, inputs) }),
});
