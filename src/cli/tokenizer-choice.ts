/** Which tokenizer a run is to have: the flags of the commands that train a model. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { ArgumentError } from "../errors.js";
import type { RecipeInput } from "../runs/recipe.js";
import { wholeNumber } from "./numbers.js";

export interface TokenizerFlags {
  readonly tokenizer?: string;
  readonly tokenizerPreset?: string;
  readonly vocabSize?: number;
}

const learned = ["bpe", "wordpiece", "unigram", "character"] as const;

export const tokenizerFlags = (command: Command): Command =>
  command
    .option("--tokenizer <model>", `learn one: ${learned.join(", ")}; or a folder with a tokenizer.json`)
    .option("--tokenizer-preset <name>", "learn one like a well-known one: gpt2, llama3, qwen, bert, t5, minimind")
    .option("--vocab-size <number>", "tokens of the vocabulary", wholeNumber);

/** The recipe's section; `undefined` where nothing was chosen. @throws TsumikiError ARGUMENT for choices that do not go together */
export function chosenTokenizer({
  tokenizer,
  tokenizerPreset: preset,
  vocabSize,
}: TokenizerFlags): NonNullable<RecipeInput["tokenizer"]> | undefined {
  const size = vocabSize === undefined ? {} : { vocabSize };
  const like = preset === undefined ? {} : ({ preset } as { preset: "gpt2" }); // the recipe's schema says what else is wrong
  const model = learned.find((name) => name === tokenizer);
  if (tokenizer === undefined) return preset === undefined && vocabSize === undefined ? undefined : { ...like, ...size };
  if (model !== undefined) return { model, ...like, ...size } as NonNullable<RecipeInput["tokenizer"]>;
  if (preset !== undefined || vocabSize !== undefined)
    throw new ArgumentError(
      `--tokenizer ${tokenizer} is a tokenizer that is there already; ${preset === undefined ? "--vocab-size" : "--tokenizer-preset"} goes with one that is learned.`,
    );
  if (!existsSync(tokenizer))
    throw new ArgumentError(
      `--tokenizer takes ${learned.join(", ")} or a folder with a tokenizer.json, and there is nothing at ${resolve(tokenizer)}.`,
    );
  return { model: "saved", folder: resolve(tokenizer) };
}
