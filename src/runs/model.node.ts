/** The model of a recipe: new, or one that is there already (Node). */

import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { modelFromConfig } from "../models/architectures.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { Llama } from "../models/decoders/llama.js";
import type { Model } from "../models/model.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { objectiveNamed } from "../train/objective.js";
import type { Recipe } from "./recipe.js";
import { openTrainedModel } from "./trained-model.node.js";

/**
 * Opens what is there already, and makes the model once the tokenizer is known.
 *
 * @throws TsumikiError CONFIG where the tokenizer or the recipe's context does not fit the model
 */
export async function modelMakerOf(
  recipe: Recipe,
  download: DownloadOptions,
): Promise<(tokenizer: Tokenizer | undefined) => Model> {
  const make = await makerOf(recipe, download);
  return (tokenizer) => {
    const model = make(tokenizer?.vocabSize);
    if (tokenizer) checkFit(model as Model & Partial<TextLimits>, tokenizer, recipe);
    return model;
  };
}

async function makerOf(
  { model, objective, training: { dropout } }: Recipe,
  download: DownloadOptions,
): Promise<(vocabSize: number | undefined) => Model> {
  const { kind } = objectiveNamed(objective.name);
  if (kind !== "causal-lm" && (model.architecture === "gpt2" || model.architecture === "llama"))
    throw new TsumikiError(
      "CONFIG",
      `The recipe cannot be followed:\n  model.architecture: "${model.architecture}" was given, expected "config" or "saved": ${objective.name} trains a ${kind}`,
    );
  switch (model.architecture) {
    case "gpt2": {
      const { architecture: _, ...options } = model;
      return (vocabSize = 0) => new GPT2({ ...options, vocabSize, embdPdrop: dropout, attnPdrop: dropout, residPdrop: dropout });
    }
    case "llama": {
      const { architecture: _, ...options } = model;
      return (vocabSize = 0) => new Llama({ ...options, vocabSize });
    }
    case "config":
      return (vocabSize) => {
        const config = { ...model.config, ...(vocabSize === undefined ? {} : { vocab_size: vocabSize }) };
        return modelFromConfig(config, "The recipe's model.config", kind);
      };
    case "saved": {
      const { model: saved } = await openTrainedModel(model.source, { ...download, kind });
      return () => saved;
    }
  }
}

interface TextLimits {
  readonly vocabSize: number;
  readonly contextLength: number;
}

function checkFit(model: Partial<TextLimits>, tokenizer: Tokenizer, { training: { context } }: Recipe): void {
  const problem =
    model.vocabSize !== undefined && tokenizer.vocabSize > model.vocabSize
      ? `tokenizer: one of ${tokenizer.vocabSize} tokens was given, expected at most ${model.vocabSize}, for which the model was made`
      : model.contextLength !== undefined && context > model.contextLength
        ? `training.context: ${context} was given, expected at most ${model.contextLength}, which the model reads`
        : undefined;
  if (problem) throw new TsumikiError("CONFIG", `The recipe cannot be followed:\n  ${problem}`);
}
