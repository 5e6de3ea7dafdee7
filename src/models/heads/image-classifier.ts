/** Classes of pictures: a linear map over what a vision model makes of them (Dosovitskiy et al. 2021, section 3.1). */

import { ArgumentError } from "../../errors.js";
import type { Tensor } from "../../graph/tensor.js";
import { normal } from "../../nn/initializers.js";
import { Linear } from "../../nn/linear.js";
import { defineModelKind } from "../model.js";
import { type VisionModel, visionInputs } from "../vision-model.js";
import { Head } from "./head.js";

export interface ImageClassifierOptions {
  /** The names of the classes, in the order of the logits. */
  readonly labels: readonly string[];
}

export class ImageClassifier extends Head<VisionModel> {
  readonly kind = "image-classifier" as const;
  readonly classifier: Linear;
  readonly labels: readonly string[];

  constructor(backbone: VisionModel, { labels }: ImageClassifierOptions) {
    super(backbone);
    if (labels.length === 0) throw new ArgumentError("A classifier needs at least one label, but none was given.");
    this.labels = [...labels];
    this.classifier = new Linear(backbone.hiddenSize, labels.length, { initializer: normal(0.02) });
  }

  /** pixels [batch, channels, height, width] → logits [batch, labels] */
  forward(pixels: Tensor): Tensor {
    return this.classifier.forward(this.backbone.pooled(this.backbone.forward(pixels)));
  }

  toConfig(): { readonly labels: readonly string[]; readonly backbone: object } {
    return { labels: this.labels, backbone: this.backbone.toConfig() };
  }
}

declare module "../model.js" {
  interface ModelKinds {
    "image-classifier": ImageClassifier;
  }
}

defineModelKind("image-classifier", {
  inputs: (model) => visionInputs(model.backbone),
  outputs: (model, { pixels }) => ({ logits: model.forward(pixels as Tensor) }),
});
