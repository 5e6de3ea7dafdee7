/** What a recipe asks for, fetched or made: text, tokenizer, data, model (Node). */

import type { BatchSource } from "../data/batch-source.js";
import { describeReading } from "../data/reading-report.js";
import type { TokenDocuments } from "../data/tokens/token-documents.js";
import { TsumikiError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import type { DownloadOptions } from "../hub/download.node.js";
import type { Model } from "../models/model.js";
import type { Module } from "../nn/module.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { type TrainingProgress, trainTokenizer } from "../tokenizer/train.js";
import { corpusRows } from "../train/data-context.js";
import { type Companions, type DataContext, objectiveNamed, taskOf } from "../train/objective.js";
import type { Reporter } from "../train/reporter.js";
import type { Task } from "../train/trainer.js";
import { type Adapter, applyTuning } from "../tuning/index.js";
import { endOfText, type RunDocuments, type RunTexts, textsOf, tokensOf } from "./data.node.js";
import { describeRunEngine, type RunEngine } from "./engines.node.js";
import { modelMakerOf } from "./model.node.js";
import type { Recipe } from "./recipe.js";
import { readsExamples } from "./recipe-objective.js";
import { openTokenizerOf, openTrainedModel } from "./trained-model.node.js";

export interface Ingredients extends Disposable {
  /** Of models that read text. */
  readonly tokenizer: Tokenizer | undefined;
  readonly model: Model;
  /** The adapter that is trained in place of the model, where the recipe has a tuning method. */
  readonly tuning: Adapter | undefined;
  /** What is learned from which batches; may read from a file, which disposing closes. */
  readonly task: Task;
  /** The texts as tokens, where there are any. */
  readonly documents: TokenDocuments | undefined;
  /** What samples continue. */
  readonly prompts: readonly string[];
  /** By which changed data is noticed. */
  readonly textSha256: string;
}

export interface IngredientsOptions {
  /** Of a run that goes on: its tokenizer and, where they came from elsewhere, its weights, and the data that it must find again. */
  readonly known?: (Pick<Ingredients, "tokenizer" | "textSha256"> & { openModel(): Promise<Model> }) | undefined;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}

/** @throws TsumikiError DATA, TOKENIZER or ARGUMENT where something does not fit together */
export async function ingredientsOf(recipe: Recipe, options: IngredientsOptions): Promise<Ingredients> {
  const { known, reporter, signal } = options;
  const download = downloadOptions({ reporter, signal });
  // A run that is resumed holds all of its model, wherever the model came from.
  const saved = recipe.model.architecture === "saved" ? await known?.openModel() : undefined;
  const makeModel = saved ? () => saved : await modelMakerOf(recipe, download);
  const texts = readsExamples(recipe.objective.name) ? await textsOf(recipe, signal) : undefined;
  const textSha256 = texts?.sha256 ?? JSON.stringify(recipe.objective);
  if (known && known.textSha256 !== textSha256)
    throw new TsumikiError("DATA", "The text has changed since the run began. Put it back, or begin a new run.");
  const tokenizer = known?.tokenizer ?? (texts && (await tokenizerFor(recipe, texts, { reporter, signal })));
  const prompts = texts && tokenizer ? await promptsOf(recipe, texts, tokenizer) : [];
  const model = makeModel(tokenizer); // a misfit is noticed before the texts are encoded
  const tuning = tuningOf(recipe, model);
  const companions = await openCompanions(recipe, download);
  let documents: RunDocuments | undefined;
  const { name, ...given } = recipe.objective;
  const objective = objectiveNamed(name);
  const settings = objective.settings.parse(given);
  const context: DataContext = {
    ...{ settings, model },
    layout: {
      context: recipe.training.context,
      packing: recipe.data.packing ?? "windows",
      validationShare: recipe.data.validationShare,
    },
    get tokenizer() {
      return required(tokenizer, recipe);
    },
    examples: () => required(texts, recipe).read(),
    rows: corpusRows,
    async documents() {
      documents ??= await tokensOf(required(texts, recipe), required(tokenizer, recipe), recipe, { reporter, signal });
      return documents;
    },
  };
  try {
    const source: BatchSource = await objective.source(context);
    const task = taskOf({ objective, settings }, model, source, { companions, tuning });
    return {
      tokenizer,
      model,
      tuning,
      task,
      documents,
      prompts,
      textSha256,
      [Symbol.dispose]: () => documents?.[Symbol.dispose](),
    };
  } catch (error) {
    documents?.[Symbol.dispose]();
    throw error;
  }
}

function required<T>(value: T | undefined, { objective }: Recipe): T {
  if (value !== undefined) return value;
  throw new TsumikiError("CONFIG", `The objective ${objective.name} asks for texts, but says that it learns from none.`);
}

async function tokenizerFor(recipe: Recipe, texts: RunTexts, listening: Listening): Promise<Tokenizer> {
  try {
    return await tokenizerOf(recipe, texts, listening);
  } catch (error) {
    // What was left out may be the reason, as where no text is left.
    for (const line of describeReading(texts.report())) listening.reporter.message(line);
    throw error;
  }
}

/** What samples continue. One that cannot be encoded is noticed here, and not at the first sample. */
async function promptsOf({ samples }: Recipe, texts: RunTexts, tokenizer: Tokenizer): Promise<readonly string[]> {
  const prompts = samples.prompts ?? [openingOf((await firstOf(texts.read()))?.text ?? "")];
  for (const prompt of prompts) tokenizer.encode(prompt);
  return prompts;
}

/** @throws TsumikiError CONFIG where the trained adapter could not be written into the model's weights, as is done at the end */
function tuningOf({ tuning, training: { seed } }: Recipe, model: Model): Adapter | undefined {
  if (!tuning) return undefined;
  const adapter = applyTuning(model, tuning, { seed });
  if (adapter.unmergeable !== undefined)
    throw new TsumikiError(
      "CONFIG",
      `The recipe cannot be followed:\n  tuning: ${adapter.unmergeable} shares its weight with another layer that ${tuning.method} leaves as it is; set tuning.ensureWeightTying, or choose other tuning.targets`,
    );
  return adapter;
}

async function openCompanions({ companions = {}, objective }: Recipe, download: DownloadOptions): Promise<Companions> {
  const { kind } = objectiveNamed(objective.name);
  const opened = Object.entries(companions).map(async ([name, { source }]) => {
    const { model } = await openTrainedModel(source, { ...download, kind });
    return [name, model] as const;
  });
  return Object.fromEntries(await Promise.all(opened));
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
  { tokenizer, documents, model, tuning, task }: Ingredients,
  engine: RunEngine,
  directory: string,
): string {
  const { corpus: name, files = [] } = recipe.data;
  const { steps, batchSize, accumulation, context } = recipe.training;
  const { unit, description = "" } = task.source;
  const epochs = (steps * accumulation) / task.source.batchesPerEpoch(batchSize);
  const [documentCount, tokenCount] = documents ? [documents.starts.length - 1, documents.starts.at(-1) as number] : [0, 0];
  const read = documentCount > 1 ? `${count(documentCount)} documents, ` : "";
  const perStep = `${count(batchSize * accumulation * (documents ? context : 1))} ${unit.name}s`;
  const trained = tuning ? `; ${count(countOf(tuning))} beside them are trained (${tuning.method})` : "";
  const lines = [
    ["objective", recipe.objective.name],
    [documents ? "text" : "data", `${documents ? `${name ?? files.join(", ")}: ${read}` : ""}${description}`],
    ...(tokenizer && documents
      ? [
          [
            "tokenizer",
            `${describeTokenizer(recipe.tokenizer)}, ${count(tokenizer.vocabSize)} tokens, ${(documents.textBytes / tokenCount).toFixed(1)} bytes each on average`,
          ],
        ]
      : []),
    ["model", `${model.modelType}, ${(countOf(model) / 1e6).toFixed(1)} million parameters${trained}`],
    ["training", `${count(steps)} steps of ${perStep}: ${epochs.toFixed(1)} times through the ${documents ? "text" : "data"}`],
    ["engine", `${describeRunEngine(engine)}, ${engine.threads} threads`],
    ["kept in", directory],
  ];
  return lines
    .filter(([label]) => label !== "objective" || recipe.objective.name !== "causal-lm")
    .map(([label = "", value]) => `${label.padEnd(10)} ${value}`)
    .join("\n");
}

const countOf = (module: Module): number =>
  [...module.parameters().values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);

function describeTokenizer(tokenizer: Recipe["tokenizer"]): string {
  if (tokenizer.model === "saved") return tokenizer.folder;
  const { model, preset } = { preset: undefined, ...tokenizer };
  return preset === undefined ? model : `${model} as ${preset} has it`;
}

const count = (value: number): string => value.toLocaleString("en-US");
