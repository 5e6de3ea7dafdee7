/** What a recipe asks for, fetched or made: text, tokenizer, data, model (Node). */

import { describeReading } from "../data/reading-report.js";
import { TsumikiError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import type { DownloadOptions } from "../hub/download.node.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { type TrainingProgress, trainTokenizer } from "../tokenizer/train.js";
import type { Reporter } from "../train/reporter.js";
import { endOfText, packedTexts, type RunData, type RunTexts, textsOf } from "./data.node.js";
import { describeRunEngine, type RunEngine } from "./engines.node.js";
import { modelMakerOf } from "./model.node.js";
import type { Recipe } from "./recipe.js";
import { openTokenizerOf } from "./trained-model.node.js";

export interface Ingredients {
  readonly tokenizer: Tokenizer;
  /** Reads from a file: it is to be disposed. */
  readonly data: RunData;
  readonly model: CausalLM;
  /** What samples continue. */
  readonly prompts: readonly string[];
  /** By which changed data is noticed. */
  readonly textSha256: string;
}

export interface IngredientsOptions {
  /** Of a run that goes on: its tokenizer and, where they came from elsewhere, its weights, and the data that it must find again. */
  readonly known?: (Pick<Ingredients, "tokenizer" | "textSha256"> & { openModel(): Promise<CausalLM> }) | undefined;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}

/** @throws TsumikiError DATA, TOKENIZER or ARGUMENT where something does not fit together */
export async function ingredientsOf(recipe: Recipe, { known, reporter, signal }: IngredientsOptions): Promise<Ingredients> {
  // A run that goes on holds all of its model, wherever the model came from.
  const saved = recipe.model.architecture === "saved" ? await known?.openModel() : undefined;
  const makeModel = saved ? () => saved : await modelMakerOf(recipe, downloadOptions({ reporter, signal }));
  const texts = await textsOf(recipe, signal);
  if (known && known.textSha256 !== texts.sha256)
    throw new TsumikiError("DATA", "The text has changed since the run began. Put it back, or begin a new run.");
  let tokenizer = known?.tokenizer;
  try {
    tokenizer ??= await tokenizerOf(recipe, texts, { reporter, signal });
  } catch (error) {
    // What was left out may be the reason, as where no text is left.
    for (const line of describeReading(texts.report())) reporter.message(line);
    throw error;
  }
  const prompts = recipe.samples.prompts ?? [openingOf((await firstOf(texts.read()))?.text ?? "")];
  for (const prompt of prompts) tokenizer.encode(prompt); // one that cannot be encoded is noticed now, not at the first sample
  const model = makeModel(tokenizer); // a misfit too
  const data = await packedTexts(texts, tokenizer, recipe, { reporter, signal });
  return { tokenizer, data, model, prompts, textSha256: texts.sha256 };
}

type Listening = Omit<IngredientsOptions, "known">;

const downloadOptions = ({ reporter, signal }: Listening): DownloadOptions => ({
  onProgress: ({ file, receivedBytes, totalBytes }) => reporter.preparing?.(`downloading ${file}`, receivedBytes, totalBytes),
  ...(signal ? { signal } : {}),
});

/** The one that the recipe names, or one that is learned from the texts. */
async function tokenizerOf({ tokenizer: options }: Recipe, texts: RunTexts, { reporter, signal }: Listening): Promise<Tokenizer> {
  if (options.model === "saved") return openTokenizerOf(options.folder, downloadOptions({ reporter, signal }));
  // Where there are several documents, a token for their ends, unless it is said which special tokens there are.
  const saysTokens = options.specialTokens !== undefined || ("preset" in options && options.preset !== undefined);
  const training = texts.several && !saysTokens ? { ...options, specialTokens: [endOfText] } : options;
  const listening = training.model === "character" ? {} : { onProgress, onForgotten };
  return trainTokenizer(texts.pieces(), { ...training, ...listening, ...(signal ? { signal } : {}) });

  function onProgress(progress: TrainingProgress): void {
    if ("reading" in progress) reporter.preparing?.("reading", texts.progress.read, texts.progress.total);
  }
  function onForgotten({ words, occurrences }: { readonly words: number; readonly occurrences: number }): void {
    reporter.message(
      `The tokenizer was learned without ${count(words)} rare words (${count(occurrences)} occurrences), to save memory.`,
    );
  }
}

async function firstOf<T>(values: AsyncIterable<T>): Promise<T | undefined> {
  for await (const value of values) return value;
  return undefined;
}

/** The first three words: characters that any tokenizer of the text knows. */
const openingOf = (text: string): string => text.trim().split(/\s+/, 3).join(" ");

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
  const documents = data.documentCount > 1 ? `${count(data.documentCount)} documents, ` : "";
  const bytesPerToken = data.bytesPerToken.toFixed(1);
  return [
    `text       ${name ?? files.join(", ")}: ${documents}${count(data.trainTokenCount)} tokens to train on, ${count(data.validationTokenCount)} to validate`,
    `tokenizer  ${describeTokenizer(recipe.tokenizer)}, ${count(tokenizer.vocabSize)} tokens, ${bytesPerToken} bytes each on average`,
    `model      ${model.modelType}, ${(parameters / 1e6).toFixed(1)} million parameters`,
    `training   ${count(steps)} steps of ${count(tokensPerStep)} tokens: ${epochs.toFixed(1)} times through the text`,
    `engine     ${describeRunEngine(engine)}, ${engine.threads} threads`,
    `kept in    ${directory}`,
  ].join("\n");
}

function describeTokenizer(tokenizer: Recipe["tokenizer"]): string {
  if (tokenizer.model === "saved") return tokenizer.folder;
  const { model, preset } = { preset: undefined, ...tokenizer };
  return preset === undefined ? model : `${model} as ${preset} has it`;
}

const count = (value: number): string => value.toLocaleString("en-US");
