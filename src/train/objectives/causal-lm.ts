/** The next token: what language models are pretrained with. */

import * as z from "zod";
import { bucketedDocuments } from "../../data/bucketed.js";
import { type DataSource, ignoredLabel } from "../../data/data-source.js";
import { type PackedDocuments, packedDocuments } from "../../data/packed.js";
import { type TokenSource, tokenSource } from "../../data/token-source.js";
import type { TokenDocuments } from "../../data/tokens/token-documents.js";
import { ArgumentError } from "../../errors.js";
import { cast } from "../../graph/ops/cast.js";
import { notEqual } from "../../graph/ops/compare.js";
import { sum } from "../../graph/ops/reduce.js";
import type { Tensor } from "../../graph/tensor.js";
import type { CausalLM } from "../../models/causal-lm.js";
import { defineObjective, type RowLayout, taskOf } from "../objective.js";
import type { Task } from "../trainer.js";

/** How many labels count, a scalar. */
export const countedLabels = (labels: Tensor): Tensor => sum(cast(notEqual(labels, ignoredLabel), "float32"));

/** Documents in rows, as a recipe lays them out. */
export function rowsOf(documents: TokenDocuments, { context, packing, validationShare }: RowLayout): PackedDocuments {
  if (packing !== "padded")
    return packedDocuments(documents, { context, validationShare, sampling: packing === "bestFit" ? "bestFit" : "shuffled" });
  const buckets = [context / 4, context / 2, context].map(Math.ceil);
  return bucketedDocuments(documents, { buckets: [...new Set(buckets)], validationShare });
}

interface TokenLimits {
  readonly vocabSize: number;
  readonly contextLength: number;
}

/** @throws TsumikiError ARGUMENT where the data has tokens or rows that the model cannot take */
export function checkTokens(model: TokenLimits, data: object): void {
  const source = data as Pick<TokenSource, "vocabSize" | "context">;
  if (source.vocabSize > model.vocabSize)
    throw new ArgumentError(
      `The data has tokens up to ${source.vocabSize - 1}, but the model's vocabulary ends at ${model.vocabSize - 1}: make it with vocabSize ${source.vocabSize}.`,
    );
  if (source.context > model.contextLength)
    throw new ArgumentError(
      `The data comes in windows of ${source.context} tokens, but the model looks at ${model.contextLength} at most.`,
    );
}

/** Nats per token as bits per byte of text, where it is known how many bytes a token stands for. */
export const bitsPerByte = (loss: number, bytesPerToken: number | undefined): Readonly<Record<string, number>> =>
  bytesPerToken === undefined ? {} : { bitsPerByte: loss / Math.LN2 / bytesPerToken };

/**
 * Mean cross-entropy of the next token, in nats. `zLoss` is the weight of (log Σ exp(logits))², which keeps logits from drifting
 * (Chowdhery et al. 2022, "PaLM", section 5, takes 1e-4).
 */
export const causalLM = defineObjective({
  name: "causal-lm",
  description: "predict the next token: pretraining of language models",
  kind: "causal-lm",
  accepts: ["text"],
  settings: z.strictObject({ zLoss: z.number("a number of at least 0").min(0, "a number of at least 0").default(0) }),
  source: async (context) => tokenSource(rowsOf(await context.documents(), context.layout)),
  check: checkTokens,
  loss(model, { ids, labels, segments, positions }, { settings: { zLoss } }) {
    const places = { ...(segments && { segments }), ...(positions && { positions }) };
    const { loss, crossEntropy } = model.losses(ids, labels, { ...places, zLoss });
    return { loss, weight: countedLabels(labels), ...(crossEntropy === loss ? {} : { reported: crossEntropy }) };
  },
  summarize: (loss, { unit }) => bitsPerByte(loss, unit.bytes),
});

/** What a trainer needs to train a language model on rows of tokens. */
export const causalTask = (model: CausalLM, data: DataSource, settings: { readonly zLoss?: number } = {}): Task =>
  taskOf(causalLM(settings), model, tokenSource(data));
