/** What a recipe asks for, fetched or made: text, tokenizer, data, model (Node). */

import { createHash } from "node:crypto";
import { joinDocuments } from "../data/corpora.js";
import { corpus, textFile } from "../data/corpus.js";
import { type PackedText, packed } from "../data/packed.js";
import { TsumikiError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import type { CausalLM } from "../models/causal-lm.js";
import { GPT2 } from "../models/gpt2.js";
import { Llama } from "../models/llama.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { trainTokenizer } from "../tokenizer/train.js";
import type { Recipe } from "./recipe.js";
import { describeRunEngine, type RunEngine } from "./run-engines.js";

export interface Ingredients {
  readonly tokenizer: Tokenizer;
  readonly data: PackedText;
  readonly model: CausalLM;
  /** What samples continue. */
  readonly prompts: readonly string[];
  /** By which a changed text is noticed. */
  readonly textSha256: string;
}

/**
 * @param known of a run that goes on: its tokenizer, which is trained otherwise, and the text that it must find again
 * @throws TsumikiError DATA, TOKENIZER or ARGUMENT where something does not fit together
 */
export async function ingredientsOf(
  recipe: Recipe,
  known?: Pick<Ingredients, "tokenizer" | "textSha256">,
  signal?: AbortSignal,
): Promise<Ingredients> {
  const text = await textOf(recipe, signal);
  const textSha256 = createHash("sha256").update(text).digest("hex");
  if (known && known.textSha256 !== textSha256)
    throw new TsumikiError("DATA", "The text has changed since the run began. Put it back, or begin a new run.");
  const tokenizer = known?.tokenizer ?? (await trainTokenizer(text, recipe.tokenizer));
  const { context } = recipe.training;
  const data = packed(text, tokenizer, { context, validationShare: recipe.data.validationShare });
  const prompts = recipe.samples.prompts ?? [openingOf(text)];
  for (const prompt of prompts) tokenizer.encode(prompt); // one that cannot be encoded is noticed now, not at the first sample
  return { tokenizer, data, model: modelOf(recipe, tokenizer.vocabSize), prompts, textSha256 };
}

async function textOf({ data }: Recipe, signal?: AbortSignal): Promise<string> {
  const options = signal ? { signal } : {};
  if (data.corpus !== undefined) return corpus(data.corpus, options);
  const texts = await Promise.all((data.files ?? []).map((path) => textFile(path, options)));
  return texts.length === 1 ? (texts[0] as string) : joinDocuments(texts);
}

/** The first three words: characters that any tokenizer of the text knows. */
const openingOf = (text: string): string => text.trim().split(/\s+/, 3).join(" ");

function modelOf({ model, training: { dropout } }: Recipe, vocabSize: number): CausalLM {
  if (model.architecture === "gpt2") {
    const { architecture: _, ...options } = model;
    return new GPT2({ ...options, vocabSize, embdPdrop: dropout, attnPdrop: dropout, residPdrop: dropout });
  }
  const { architecture: _, ...options } = model;
  return new Llama({ ...options, vocabSize });
}

/** A few lines on what is about to be trained, where and how. */
export function describeIngredients(
  recipe: Recipe,
  { tokenizer, data, model }: Ingredients,
  engine: RunEngine,
  directory: string,
): string {
  const { corpus: name, files = [] } = recipe.data;
  const { steps, batchSize, accumulation, context } = recipe.training;
  const parameters = [...model.parameters().values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const tokensPerStep = batchSize * accumulation * context;
  const epochs = (steps * accumulation) / data.batchesPerEpoch(batchSize);
  const bytesPerToken = data.bytesPerToken.toFixed(1);
  return [
    `text       ${name ?? files.join(", ")}: ${count(data.trainTokens.length)} tokens to train on, ${count(data.validationTokens.length)} to validate`,
    `tokenizer  ${recipe.tokenizer.model}, ${count(tokenizer.vocabSize)} tokens, ${bytesPerToken} bytes each on average`,
    `model      ${recipe.model.architecture}, ${(parameters / 1e6).toFixed(1)} million parameters`,
    `training   ${count(steps)} steps of ${count(tokensPerStep)} tokens: ${epochs.toFixed(1)} times through the text`,
    `engine     ${describeRunEngine(engine)}, ${engine.threads} threads`,
    `kept in    ${directory}`,
  ].join("\n");
}

const count = (value: number): string => value.toLocaleString("en-US");
