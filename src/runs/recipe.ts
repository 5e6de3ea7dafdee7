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
import { TsumikiError } from "../errors.js";
import { presets as knownTokenizers, presetNames as tokenizerPresets } from "../tokenizer/training/presets.js";
import { defaultWarmupSteps } from "../train/trainer.js";
import { mergeRecipes } from "./recipe-merge.js";
import { migrateRecipe, migrateSavedRecipe, recipeVersion } from "./recipe-migrations.js";
import { companionsOf, objectiveKeys, objectiveSchema, readsExamples } from "./recipe-objective.js";
import { presetNames, presets } from "./recipe-presets.js";
import { describe, describeProblems } from "./recipe-problems.js";
import {
  companionNames,
  companionsSchema,
  dataSchema,
  engineSchema,
  filterSchema,
  modelSchema,
  quoted,
  samplesSchema,
  tokenizerSchema,
  trainingSchema,
} from "./recipe-sections.js";
import { tuningKeys, tuningSchema } from "./recipe-tuning.js";

const sections = z.strictObject({
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
});

const recipeSchema = sections
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
      return [...companionNames];
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
      return ["preset", ...Object.keys(sections.shape)];
  }
}

/** The recipe that a run directory keeps, which is complete already. */
export const savedRecipeSchema: z.ZodType<Recipe> = z.preprocess(
  (saved) => (typeof saved === "object" && saved !== null ? migrateSavedRecipe(saved) : saved),
  recipeSchema,
) as unknown as z.ZodType<Recipe>;

const invalid = (problems: readonly string[]): TsumikiError =>
  new TsumikiError("CONFIG", `The recipe cannot be followed:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
