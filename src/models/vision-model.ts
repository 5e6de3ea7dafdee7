/** Models that read pictures. */

import type { Tensor } from "../graph/tensor.js";
import { float32 } from "../program/signature.js";
import { defineModelKind, Model } from "./model.js";

export abstract class VisionModel extends Model {
  readonly kind = "vision" as const;
  abstract readonly hiddenSize: number;
  /** Width and height of its pictures. */
  abstract readonly imageSize: number;
  abstract readonly numChannels: number;
  /** The model's name in a checkpoint with a head: `vit` in `vit.embeddings.cls_token`. */
  abstract readonly prefix: string;

  /** pixels [batch, channels, height, width] → hidden states after the last norm [batch, tokens, hidden] */
  abstract forward(pixels: Tensor): Tensor;

  /** hidden [batch, tokens, hidden] → what stands for the whole picture [batch, hidden] */
  abstract pooled(hidden: Tensor): Tensor;
}

declare module "./model.js" {
  interface ModelKinds {
    vision: VisionModel;
  }
}

export const visionInputs = ({ numChannels, imageSize }: Pick<VisionModel, "numChannels" | "imageSize">) => ({
  pixels: { spec: float32("batch", numChannels, imageSize, imageSize) },
});

defineModelKind("vision", {
  inputs: visionInputs,
  outputs(model, { pixels }) {
    const lastHiddenState = model.forward(pixels as Tensor);
    return { lastHiddenState, poolerOutput: model.pooled(lastHiddenState) };
  },
});
