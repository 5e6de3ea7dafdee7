/** The model of a recipe: new, or one that is there already (Node). */

import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { Llama } from "../models/decoders/llama.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Recipe } from "./recipe.js";
import { openTrainedModel } from "./trained-model.node.js";

/**
 * Opens what is there already, and makes the model once the tokenizer is known.
 *
 * @throws TsumikiError CONFIG where the tokenizer or the recipe's context does not fit the model
 */
export async function modelMakerOf(recipe: Recipe, download: DownloadOptions): Promise<(tokenizer: Tokenizer) => CausalLM> {
  const make = await makerOf(recipe, download);
  return (tokenizer) => {
    const model = make(tokenizer.vocabSize);
    checkFit(model, tokenizer, recipe);
    return model;
  };
}

async function makerOf(
  { model, training: { dropout } }: Recipe,
  download: DownloadOptions,
): Promise<(vocabSize: number) => CausalLM> {
  switch (model.architecture) {
    case "gpt2": {
      const { architecture: _, ...options } = model;
      return (vocabSize) => new GPT2({ ...options, vocabSize, embdPdrop: dropout, attnPdrop: dropout, residPdrop: dropout });
    }
    case "llama": {
      const { architecture: _, ...options } = model;
      return (vocabSize) => new Llama({ ...options, vocabSize });
    }
    case "config":
      return (vocabSize) => modelFromConfig({ ...model.config, vocab_size: vocabSize }, "The recipe's model.config", "causal-lm");
    case "saved": {
      const { model: saved } = await openTrainedModel(model.source, { ...download, kind: "causal-lm" });
      return () => saved;
    }
  }
}

function checkFit(model: CausalLM, tokenizer: Tokenizer, { training: { context } }: Recipe): void {
  const problem =
    tokenizer.vocabSize > model.vocabSize
      ? `tokenizer: one of ${tokenizer.vocabSize} tokens was given, expected at most ${model.vocabSize}, for which the model was made`
      : context > model.contextLength
        ? `training.context: ${context} was given, expected at most ${model.contextLength}, which the model reads`
        : undefined;
  if (problem) throw new TsumikiError("CONFIG", `The recipe cannot be followed:\n  ${problem}`);
}
