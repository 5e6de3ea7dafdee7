/** The tokens behind masks: an encoder and an output tied to its embedding (Devlin et al. 2019, "BERT", section 3.1). */

import { toCheckpointName } from "../../checkpoint/names.js";
import type { Tensor } from "../../graph/tensor.js";
import { Parameter } from "../../graph/variable.js";
import { type ActivationName, activations } from "../../nn/feed-forward.js";
import { normal, zeros } from "../../nn/initializers.js";
import { Linear } from "../../nn/linear.js";
import { linearLogits, logitsLosses } from "../../nn/linear-cross-entropy.js";
import { LayerNorm } from "../../nn/norm.js";
import { type Encoder, type EncoderInputs, encoderInputs } from "../encoder.js";
import { defineModelKind, type TiedOutput } from "../model.js";
import { Head } from "./head.js";

export interface MaskedLMOptions {
  /** Default "gelu". */
  readonly activation?: ActivationName;
  /** Of the normalization. Default 1e-12. */
  readonly epsilon?: number;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
}

export class MaskedLM extends Head<Encoder> {
  readonly kind = "masked-lm" as const;
  readonly transform: Linear;
  readonly norm: LayerNorm;
  readonly outputBias: Parameter;
  readonly #activation: ActivationName;

  constructor(backbone: Encoder, options: MaskedLMOptions = {}) {
    super(backbone);
    const { activation = "gelu", epsilon = 1e-12, initializerRange = 0.02 } = options;
    const { hiddenSize, vocabSize } = backbone;
    this.transform = new Linear(hiddenSize, hiddenSize, { initializer: normal(initializerRange) });
    this.norm = new LayerNorm(hiddenSize, { epsilon });
    this.outputBias = new Parameter([vocabSize], { initializer: zeros });
    this.#activation = activation;
  }

  get vocabSize(): number {
    return this.backbone.vocabSize;
  }

  get contextLength(): number {
    return this.backbone.contextLength;
  }

  /** hidden [..., hidden] → logits [..., vocab] */
  logits(hidden: Tensor): Tensor {
    const transformed = this.norm.forward(activations[this.#activation](this.transform.forward(hidden)));
    return linearLogits(transformed, this.backbone.tokenEmbeddings, { bias: this.outputBias });
  }

  /** ids [batch, seq] → logits [batch, seq, vocab]: which token stands at each position */
  forward(ids: Tensor, inputs: EncoderInputs = {}): Tensor {
    return this.logits(this.backbone.forward(ids, inputs));
  }

  /**
   * Mean cross-entropy over the positions that have a label, in nats.
   *
   * @param labels [batch, seq] the token that belongs there; −100 where it does not count
   */
  loss(ids: Tensor, labels: Tensor, inputs: EncoderInputs = {}): Tensor {
    return this.within(() => {
      const hidden = this.backbone.forward(ids, inputs);
      return logitsLosses(hidden, (rows) => this.logits(rows), labels).loss;
    });
  }

  protected override headPath(path: string): string {
    return this.backbone.family.maskedLMPaths[path] ?? path;
  }

  override get tiedOutput(): TiedOutput {
    const name = this.checkpointPath("outputBias").replace(/bias$/, "decoder");
    return { embedding: this.backbone.tokenEmbeddings, path: "decoder", name: toCheckpointName(name) };
  }

  toConfig(): object {
    return this.backbone.toConfig();
  }
}

declare module "../model.js" {
  interface ModelKinds {
    "masked-lm": MaskedLM;
  }
}

defineModelKind("masked-lm", {
  inputs: encoderInputs,
  outputs: (model, { ids, ...inputs }) => ({ logits: model.forward(ids as Tensor, inputs) }),
});
