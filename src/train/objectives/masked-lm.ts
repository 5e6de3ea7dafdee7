/** The tokens behind masks (Devlin et al. 2019, "BERT", section 3.1, task 1). */

import * as z from "zod";
import type { BatchSource } from "../../data/batch-source.js";
import { type DataPosition, type DataSource, ignoredLabel, startOfData, type TokenBatch } from "../../data/data-source.js";
import { TsumikiError } from "../../errors.js";
import { hostArray } from "../../graph/host-array.js";
import { type NamedRandom, namedRandom } from "../../graph/random.js";
import { bool, int32 } from "../../program/signature.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";
import { defineObjective } from "../objective.js";
import { checkTokens, countedLabels, rowsOf } from "./causal-lm.js";

const signature = { ids: int32("batch", "seq"), labels: int32("batch", "seq"), mask: bool("batch", "seq") };

/** What is masked, and what stands there instead. */
export interface Masking {
  /** The id of the mask token. */
  readonly maskId: number;
  /** Random tokens are drawn below it. */
  readonly vocabSize: number;
  /** Ids that are never masked. */
  readonly kept: ReadonlySet<number>;
  /** Chance that a token is chosen. */
  readonly rate: number;
}

/**
 * Chooses each token by itself with the given chance, as the collator of transformers does; of the chosen ones 80 % become the mask, 10 %
 * a random token, and 10 % stay. Labels are the chosen tokens, −100 elsewhere.
 */
export function maskTokens(ids: Int32Array, { maskId, vocabSize, kept, rate }: Masking, random: NamedRandom) {
  const masked = ids.slice();
  const labels = new Int32Array(ids.length).fill(ignoredLabel);
  for (const [place, id] of ids.entries()) {
    if (random.uniform() >= rate || kept.has(id)) continue;
    labels[place] = id;
    const choice = random.uniform();
    if (choice < 0.8) masked[place] = maskId;
    else if (choice < 0.9) masked[place] = random.below(vocabSize);
  }
  return { masked, labels };
}

interface MaskedSource extends BatchSource<typeof signature, DataPosition> {
  readonly vocabSize: number;
  readonly context: number;
}

function maskedSource(rows: DataSource, masking: Masking): MaskedSource {
  const feedsOf = ({ ids, labels: next, segments }: TokenBatch, random: NamedRandom) => {
    const { masked, labels } = maskTokens(ids.data as Int32Array, masking, random);
    const real = segments
      ? Uint8Array.from(segments.data, (segment) => (segment > 0 ? 1 : 0))
      : realTokens(next.data as Int32Array, ids.shape[1] as number);
    for (const [place, isReal] of real.entries()) if (!isReal) labels[place] = ignoredLabel;
    return {
      ids: hostArray("int32", ids.shape, masked),
      labels: hostArray("int32", ids.shape, labels),
      mask: hostArray("bool", ids.shape, real),
    };
  };
  return {
    ...{ signature, vocabSize: rows.vocabSize, context: rows.context },
    unit: { name: "token" },
    start: startOfData,
    async batch(position, size) {
      const { batch, next } = rows.batch(position, size);
      const { seed, epoch, window } = position;
      return { feeds: feedsOf(batch, namedRandom(seed, "masked-lm", epoch, window)), next };
    },
    batchesPerEpoch: (size) => rows.batchesPerEpoch(size),
    ...(rows.validationTokenCount > 0 && {
      async *validation(size: number) {
        let window = 0; // always the same masks, so that validations can be compared
        for (const batch of rows.validation(size)) yield feedsOf(batch, namedRandom(0, "masked-lm.validation", 0, window++));
      },
    }),
  };
}

/** Which places hold text: all up to the last that has a token after it, and that token. 1 for yes. */
function realTokens(next: Int32Array, length: number): Uint8Array {
  const real = new Uint8Array(next.length);
  for (let row = 0; row < next.length; row += length) {
    let end = length;
    while (end > 0 && next[row + end - 1] === ignoredLabel) end--;
    real.fill(1, row, Math.min(row + length, row + end + (end > 0 ? 1 : 0)));
  }
  return real;
}

function maskingOf(tokenizer: Tokenizer, rate: number): Masking {
  const named = tokenizer.config.mask_token as string | { readonly content?: string } | null | undefined;
  const name =
    (typeof named === "string" ? named : named?.content) ??
    ["[MASK]", "<mask>"].find((token) => tokenizer.tokenToId(token) !== undefined);
  const maskId = name === undefined ? undefined : tokenizer.tokenToId(name);
  if (maskId === undefined)
    throw new TsumikiError("TOKENIZER", "The tokenizer has no mask token: train it with the special token [MASK].");
  return {
    maskId,
    vocabSize: tokenizer.vocabSize,
    kept: new Set(tokenizer.specialTokens.map((token) => tokenizer.tokenToId(token) as number)),
    rate,
  };
}

/** Mean cross-entropy of the tokens that were chosen, in nats. */
export const maskedLM = defineObjective({
  name: "masked-lm",
  description: "predict the tokens behind masks: pretraining of encoders",
  kind: "masked-lm",
  accepts: ["text"],
  settings: z.strictObject({
    /** Chance that a token is chosen. */
    maskRate: z.number("a number above 0 and below 1").gt(0, "a number above 0").lt(1, "a number below 1").default(0.15),
  }),
  async source({ documents, layout, tokenizer, settings: { maskRate } }) {
    return maskedSource(rowsOf(await documents(), layout), maskingOf(tokenizer, maskRate));
  },
  check: checkTokens,
  loss(model, { ids, labels, mask }) {
    return { loss: model.loss(ids, labels, { mask }), weight: countedLabels(labels) };
  },
});
