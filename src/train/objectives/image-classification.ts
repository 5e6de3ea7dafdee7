/** The class of a picture (Dosovitskiy et al. 2021, section 4). */

import * as z from "zod";
import type { BatchSource } from "../../data/batch-source.js";
import { type DataPosition, ignoredLabel, startOfData } from "../../data/data-source.js";
import { shuffle } from "../../data/windows.js";
import { ArgumentError, TsumikiError } from "../../errors.js";
import { hostArray } from "../../graph/host-array.js";
import { cast } from "../../graph/ops/cast.js";
import { equal } from "../../graph/ops/compare.js";
import { crossEntropy } from "../../graph/ops/loss.js";
import { sum } from "../../graph/ops/reduce.js";
import { argMax } from "../../graph/ops/topk.js";
import { namedRandom } from "../../graph/random.js";
import type { ImageClassifier } from "../../models/heads/image-classifier.js";
import { float32, int32 } from "../../program/signature.js";
import { defineObjective } from "../objective.js";
import { countedLabels } from "./causal-lm.js";

const signatureOf = (channels: number, height: number, width: number) => ({
  pixels: float32("batch", channels, height, width),
  labels: int32("batch"),
});

/** A picture of bytes, row by row, channels together, and its class. */
export interface LabelledPicture {
  readonly image: { readonly width: number; readonly height: number; readonly channels: number; readonly data: Uint8Array };
  readonly label: number;
}

/**
 * Pictures in batches, shuffled anew each epoch, all of one size. Pixels are (value / 255 − 0.5) / 0.5, channels first; the last batch of
 * an epoch is filled up with pictures that do not count.
 */
export function pictureSource(
  train: readonly LabelledPicture[],
  validation: readonly LabelledPicture[],
): BatchSource<ReturnType<typeof signatureOf>, DataPosition> {
  const [first] = train;
  if (!first) throw new TsumikiError("DATA", "There is no picture to learn from.");
  const { width, height, channels } = first.image;
  for (const { image } of [...train, ...validation])
    if (image.width !== width || image.height !== height || image.channels !== channels)
      throw new TsumikiError(
        "DATA",
        `Pictures must be of one size, but there are ${width} × ${height} × ${channels} and ${image.width} × ${image.height} × ${image.channels}.`,
      );
  const feedsOf = (pictures: readonly LabelledPicture[], size: number) => {
    const area = width * height;
    const pixels = new Float32Array(size * channels * area);
    const labels = new Int32Array(size).fill(ignoredLabel);
    for (const [row, { image, label }] of pictures.entries()) {
      labels[row] = label;
      for (const [i, value] of image.data.entries())
        pixels[(row * channels + (i % channels)) * area + Math.floor(i / channels)] = value / 127.5 - 1;
    }
    return {
      pixels: hostArray("float32", [size, channels, height, width], pixels),
      labels: hostArray("int32", [size], labels),
    };
  };
  let last: { readonly seed: number; readonly epoch: number; readonly order: Int32Array } | undefined;
  const orderOf = (seed: number, epoch: number): Int32Array => {
    if (last?.seed !== seed || last.epoch !== epoch) {
      const all = Int32Array.from(train, (_, i) => i);
      last = { seed, epoch, order: shuffle(all, namedRandom(seed, "data.pictures", epoch)) };
    }
    return last.order;
  };
  return {
    signature: signatureOf(channels, height, width),
    unit: { name: "image" },
    description: `${train.length.toLocaleString("en-US")} pictures to train on, ${validation.length.toLocaleString("en-US")} to validate`,
    start: startOfData,
    async batch({ seed, epoch, window }, size) {
      const order = orderOf(seed, epoch).subarray(window, window + size);
      const end = window + order.length;
      const next = end >= train.length ? { seed, epoch: epoch + 1, window: 0 } : { seed, epoch, window: end };
      return {
        feeds: feedsOf(
          Array.from(order, (i) => train[i] as LabelledPicture),
          size,
        ),
        next,
      };
    },
    batchesPerEpoch: (size) => Math.ceil(train.length / size),
    ...(validation.length > 0 && {
      async *validation(size: number) {
        for (let start = 0; start < validation.length; start += size) yield feedsOf(validation.slice(start, start + size), size);
      },
    }),
  };
}

/** Mean cross-entropy of the classes, in nats; accuracy beside it. */
export const imageClassification = defineObjective({
  name: "image-classification",
  description: "tell the class of a picture",
  kind: "image-classifier",
  accepts: [],
  settings: z.strictObject({
    /** A corpus of pictures with labels. */
    corpus: z.string("the name of a corpus").default("digits"),
    /** At most so many pictures of each split. Default: all. */
    limit: z.int("a whole number").positive("a whole number of at least 1").exactOptional(),
  }),
  async source({ rows, settings: { corpus, limit = Number.POSITIVE_INFINITY } }) {
    const taken = async (split: "train" | "validation"): Promise<LabelledPicture[]> => {
      const pictures: LabelledPicture[] = [];
      for await (const row of rows<LabelledPicture>(corpus, split)) {
        if (pictures.length >= limit) break;
        pictures.push(row);
      }
      return pictures;
    };
    return pictureSource(await taken("train"), await taken("validation"));
  },
  loss(model: ImageClassifier, { pixels, labels }) {
    const { imageSize, numChannels } = model.backbone;
    if (pixels.size(2) !== imageSize && typeof pixels.size(2) === "number")
      throw new ArgumentError(
        `The pictures are ${pixels.size(2)} × ${pixels.size(3)} with ${pixels.size(1)} channels, but the model reads ${imageSize} × ${imageSize} with ${numChannels}.`,
      );
    const logits = model.forward(pixels); // [batch, labels]
    const weight = countedLabels(labels);
    const right = sum(cast(equal(argMax(logits), cast(labels, "int64")), "float32"));
    return { loss: crossEntropy(logits, labels), weight, metrics: { accuracy: { sum: right, weight } } };
  },
});
