/** The whole way from a recipe to a trained model in a run directory (Node). */

import { rm } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import * as z from "zod";
import { loadOptimizerState } from "../checkpoint/optimizer-state.node.js";
import { loadVariables, saveVariables } from "../checkpoint/variables.node.js";
import type { Json } from "../data/batch-source.js";
import type { Engine } from "../engine/engine.js";
import { choosePrecision } from "../engine/precision.js";
import { createEngine } from "../engine/registry.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { linkOrCopy } from "../files/link.node.js";
import { checkpointVariables, configOf } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { loadModel, saveConfig, saveModel } from "../models/saved-model.node.js";
import type { Precision } from "../onnx/passes/precision.js";
import { loadTokenizer } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { objectiveNamed } from "../train/objective.js";
import { type Reporter, silentReporter } from "../train/reporter.js";
import { runLoop } from "../train/train.js";
import type { Trainer, ValidationMetrics } from "../train/trainer.js";
import { controlsShown } from "./control-pictures.js";
import { type Checkpoint, compiledProgramsOf, RunDirectory } from "./directory.node.js";
import { checkEngineChange, engineAsBefore, type RunEngine, runEngineOf } from "./engines.node.js";
import { describeIngredients, type Ingredients, ingredientsOf } from "./ingredients.node.js";
import { writeJsonFile } from "./json-file.node.js";
import { lockRun } from "./lock.node.js";
import { lossCurveSvg } from "./loss-curve.js";
import { lastValidation } from "./progress.node.js";
import { parseRecipe, type Recipe, type RecipeInput, savedRecipeSchema } from "./recipe.js";
import { describeChange, recipeChanges } from "./recipe-changes.js";
import { readsExamples } from "./recipe-objective.js";

/** Continues a prompt, piece by piece: `generate` of tsumiki/generate. */
export type Generate = (
  model: CausalLM,
  tokenizer: Tokenizer,
  prompt: string,
  options: Omit<Recipe["samples"], "prompts"> & { readonly engine: Engine },
) => AsyncIterable<string>;

export interface RunTrainingOptions {
  /** Where the run is kept. */
  readonly directory: string;
  /** Goes on with the run that is there, from its newest checkpoint. */
  readonly resume?: boolean;
  /**
   * Lets a run that is resumed go on on another engine or device or in another precision than before: where the recipe says so, or
   * where the recipe leaves it open and something else is now the best choice. Without, what the recipe leaves open stays as it was,
   * and another choice is an error.
   */
  readonly allowEngineChange?: boolean;
  /** Begins anew where a run is there. */
  readonly overwrite?: boolean;
  /** Stops after the step that is under way; a checkpoint is saved then. */
  readonly signal?: AbortSignal;
  readonly reporter?: Reporter;
  /** Lets the model continue the recipe's prompts at each validation and at the end. Default: no samples. */
  readonly generate?: Generate;
}

export interface RunSample {
  readonly prompt: string;
  /** What follows it. */
  readonly text: string;
}

export interface RunResult {
  /** Absolute. */
  readonly directory: string;
  readonly recipe: Recipe;
  /** What the losses are means over: "token", "image". */
  readonly unit: string;
  /** Steps done, of `recipe.training.steps`. */
  readonly steps: number;
  /** Whether the signal stopped the run before its end. */
  readonly stopped: boolean;
  /** The last one, if there was one. */
  readonly validation: ValidationMetrics | undefined;
  /** Wall time of the training, in all processes that worked on it. */
  readonly seconds: number;
  /** What the trained model says. */
  readonly samples: readonly RunSample[];
}

/**
 * Trains what a recipe describes and keeps everything in `directory` (see `RunDirectory`); at the end it is a Hugging Face directory
 * as well, which `loadModel` and Python's transformers open. A run that was stopped or killed goes on from its newest checkpoint to
 * the same losses, bit for bit on a CPU.
 *
 * @param recipe may be left out with `resume`: the run's own is followed
 * @throws TsumikiError CONFIG for a recipe that cannot be followed or is another one than the run's, or for another engine or precision
 * than the run's that was not allowed, ENGINE_ABSENT and PRECISION where they are not to be had here, ARGUMENT for a directory that
 * holds a run (or has none to resume), DATA and TOKENIZER for a text that does not do, NOT_FINITE when the training diverges (the
 * checkpoints stay), CHECKPOINT when one cannot be read or written
 */
export async function runTraining(recipe: RecipeInput | undefined, options: RunTrainingOptions): Promise<RunResult> {
  const { resume = false, overwrite = false, signal, reporter = silentReporter } = options;
  const directory = resolve(options.directory);
  if (resume && overwrite) throw new ArgumentError("A run is either resumed or overwritten, not both.");
  if (!resume && !recipe) throw new ArgumentError("A new run needs a recipe; only a run that is resumed has its own.");

  const opened = resume ? await RunDirectory.open(directory) : undefined;
  const followed = opened ? await recipeToResume(opened, recipe, reporter) : parseRecipe(recipe as RecipeInput);
  if (!opened) await RunDirectory.checkFree(directory, { overwrite });
  if (!opened && followed.model.architecture === "saved" && resolve(followed.model.source) === directory)
    throw new ArgumentError(
      `A run cannot be kept where the model is that it begins with: choose another directory than ${directory}.`,
    );
  await using _lock = opened && (await lockRun(directory));
  const latest = await opened?.latestCheckpoint();
  const known = latest && {
    tokenizer: readsExamples(followed.objective.name) ? await loadTokenizer(directory) : undefined,
    textSha256: readState(latest).textSha256,
    openModel: () => loadModel(directory, { kind: objectiveNamed(followed.objective.name).kind, weights: latest.modelPath }),
  };
  const ingredients = await ingredientsOf(followed, { known, reporter, signal });
  using _data = ingredients;
  // Before the first checkpoint nothing has been computed that stays.
  const before = latest && (await opened?.engines())?.at(-1);
  const { allowEngineChange = false } = options;
  const chosen = before && !allowEngineChange ? engineAsBefore(followed.engine, before) : followed.engine;
  const { name, device, threads } = chosen;
  const cacheFolder = compiledProgramsOf(directory);
  const engine = await createEngine({ engine: name, device, cacheFolder, ...(threads === undefined ? {} : { threads }) });
  let ended = false;
  try {
    if (signal?.aborted) throw new TsumikiError("ABORTED", "Stopped before the training began.");
    const precision = await choosePrecision(engine, chosen.precision);
    const now = runEngineOf(latest?.step ?? 0, engine, precision);
    const change = before && checkEngineChange(before, now, allowEngineChange);
    if (change) reporter.message(change);
    await using _newLock = opened ? undefined : await lockRun(directory);
    const run =
      opened ?? (await RunDirectory.create(directory, { recipe: followed, config: configOf(ingredients.model), overwrite }));
    if (!latest) {
      await saveConfig(ingredients.model, directory);
      await ingredients.tokenizer?.save(directory);
    }
    if (!latest) await run.recordEngine(now);
    reporter.message(describeIngredients(followed, ingredients, now, relative("", directory) || "."));
    const result = await trainInto(run, followed, { ...ingredients, engine, precision, now }, options, latest);
    ended = !result.stopped;
    return result;
  } catch (error) {
    throw await explained(error, directory);
  } finally {
    await engine.close();
    if (ended) await rm(cacheFolder, { recursive: true, force: true });
  }
}

/** The loop with everything that the run directory keeps of it. */
async function trainInto(
  run: RunDirectory,
  recipe: Recipe,
  {
    tokenizer,
    task,
    tuning,
    model,
    prompts,
    textSha256,
    engine,
    precision,
    now,
  }: Ingredients & { readonly engine: Engine; readonly precision: Precision; readonly now: RunEngine },
  { signal, generate, reporter = silentReporter }: RunTrainingOptions,
  latest: Checkpoint | undefined,
): Promise<RunResult> {
  const { steps } = recipe.training;
  let secondsBefore = 0;
  let started = performance.now();
  let validated: ValidationMetrics | undefined;
  let current: Trainer | undefined;
  /** The step of the newest checkpoint. */
  let saved = latest?.step;
  let best = (await run.bestCheckpoint())?.validationLoss ?? Number.POSITIVE_INFINITY;
  const seconds = () => secondsBefore + (performance.now() - started) / 1000;

  const restore = async (trainer: Trainer, checkpoint: Checkpoint) => {
    const state = readState(checkpoint);
    if (state.textSha256 !== textSha256)
      throw new TsumikiError("DATA", `The text has changed since the run in ${run.path} began. Put it back, or start a new run.`);
    await loadVariables(checkpoint.modelPath, checkpointVariables(model));
    if (tuning) await loadVariables(checkpoint.adapterPath, tuning.variables());
    await loadOptimizerState(checkpoint.optimizerPath, trainer.optimizer);
    trainer.restore(state);
    secondsBefore = state.seconds;
  };
  const save = async (trainer: Trainer) => {
    saved = trainer.stepsDone;
    await run.saveCheckpoint(
      trainer.stepsDone,
      async ({ modelPath, optimizerPath, adapterPath }) => {
        // Below an adapter the model stays as it is: once written, it only gets another name.
        const before = tuning && (await run.latestCheckpoint())?.modelPath;
        if (before) await linkOrCopy(before, modelPath);
        else await saveVariables(modelPath, checkpointVariables(model));
        if (tuning) await saveVariables(adapterPath, tuning.variables());
        await saveVariables(optimizerPath, trainer.optimizerVariables);
      },
      {
        training: { ...trainer.state, textSha256, seconds: seconds() } satisfies RunState,
        ...(validated?.step === trainer.stepsDone ? { validationLoss: validated.loss } : {}),
      },
    );
  };
  const speak = async (asked: readonly string[]): Promise<RunSample[]> => {
    const { prompts: _, ...options } = recipe.samples;
    const samples: RunSample[] = [];
    if (!generate || !tokenizer || model.kind !== "causal-lm") return samples;
    for (const prompt of asked) {
      let text = "";
      for await (const piece of generate(model as CausalLM, tokenizer, prompt, { ...options, engine })) text += piece;
      samples.push({ prompt, text });
    }
    if (samples.length > 0) await run.writeSample(validated?.step ?? steps, samples.map(formatSample).join("\n"));
    return samples;
  };
  const drawLossCurve = async () => run.writeLossCurve(lossCurveSvg(await run.metrics()));

  const { stopped, steps: stepsDone } = await runLoop(model, task, {
    ...recipe.training,
    engine,
    precision,
    reporter,
    ...(tuning ? { trained: tuning } : {}),
    ...(signal ? { signal } : {}),
    async onStart(trainer) {
      if (latest) {
        await restore(trainer, latest);
        // Not before: a run that cannot be resumed after all stays as it is.
        await writeJsonFile(run.files.recipe, recipe);
        await run.recordEngine(now);
      }
      current = trainer;
      await run.rewind(latest?.step ?? 0);
      started = performance.now();
    },
    async onStep({ units, seconds: stepSeconds, metrics, ...measured }) {
      const speed = { [`${task.source.unit.name}sPerSecond`]: units / stepSeconds };
      await run.appendMetrics({ ...measured, ...metrics, ...speed, seconds: seconds() });
    },
    async onValidation(metrics) {
      validated = metrics;
      // The best model is kept, whenever a checkpoint is due otherwise.
      if (metrics.loss < best) await save(current as Trainer);
      best = Math.min(best, metrics.loss);
      const { step, loss } = metrics;
      await run.appendMetrics({ step, validationLoss: loss, ...validationColumns(metrics.metrics), seconds: seconds() });
      await drawLossCurve();
      if (step < steps)
        for (const sample of await speak(prompts.slice(0, 1))) reporter.message(controlsShown(formatSample(sample)));
    },
    async onSave(trainer) {
      if (trainer.stepsDone !== saved) await save(trainer);
    },
  });

  const samples = stopped ? [] : await speak(prompts);
  if (!stopped) await saveResult(run.path, { model, tuning, tokenizer, engine }, recipe);
  return {
    directory: run.path,
    recipe,
    unit: task.source.unit.name,
    steps: stepsDone,
    stopped,
    validation: await lastValidation(run),
    seconds: seconds(),
    samples,
  };
}

/** `bitsPerByte` → `validationBitsPerByte` */
const validationColumns = (metrics: ValidationMetrics["metrics"]) =>
  Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [`validation${name.slice(0, 1).toUpperCase()}${name.slice(1)}`, value]),
  );

/** The model as a Hugging Face directory; of a tuned one the adapter in `adapter/`, and the model with the adapter in its weights. */
async function saveResult(
  directory: string,
  { model, tuning, tokenizer, engine }: Pick<Ingredients, "model" | "tuning" | "tokenizer"> & { readonly engine: Engine },
  { model: { architecture, ...settings } }: Recipe,
): Promise<void> {
  if (tuning) {
    const base = architecture === "saved" && "source" in settings ? { base: String(settings.source) } : {};
    await tuning.save(join(directory, "adapter"), base);
    await tuning.merge(engine);
  }
  await saveModel(model, directory, tokenizer ? { tokenizer } : {});
}

const formatSample = ({ prompt, text }: RunSample): string => `${prompt}${text}\n`;

/** What a checkpoint keeps besides the variables. */
const stateSchema = z.object({
  step: z.int().nonnegative(),
  position: z.json() as z.ZodType<Json>,
  seed: z.int(),
  textSha256: z.string(),
  /** Wall time of the training so far. */
  seconds: z.number().nonnegative(),
});

type RunState = z.infer<typeof stateSchema>;

function readState({ training, directory }: Checkpoint): RunState {
  const state = stateSchema.safeParse(training);
  if (state.success) return state.data;
  throw new TsumikiError(
    "CHECKPOINT",
    `${directory} cannot be resumed from; its state.json says:\n${z.prettifyError(state.error)}`,
  );
}

/** The run's own recipe, or the given one where it would lead to the same model. */
async function recipeToResume(run: RunDirectory, given: RecipeInput | undefined, reporter: Reporter): Promise<Recipe> {
  const own = await run.readRecipe(savedRecipeSchema);
  if (!given) return own;
  const recipe = parseRecipe(given);
  const changes = recipeChanges(own, recipe);
  const harmful = changes.filter(({ harmless }) => !harmless).map((change) => `  ${describeChange(change)}`);
  if (harmful.length > 0)
    throw new TsumikiError(
      "CONFIG",
      `The run in ${run.path} was begun with another recipe:\n${harmful.join("\n")}\n` +
        "Resume it without these changes, or begin a new run: in another directory, or over this one.",
    );
  if (changes.length > 0) reporter.message(`The recipe has changed: ${changes.map(describeChange).join("; ")}.`);
  return recipe;
}

/** Adds what is left of the run to the errors that end it in the middle. */
async function explained(error: unknown, directory: string): Promise<unknown> {
  const { code, message } = error as NodeJS.ErrnoException;
  const diskIsFull = ["ENOSPC", "EDQUOT", "EFBIG"].includes(code ?? "");
  if (code !== "NOT_FINITE" && !diskIsFull) return error;
  const latest = await (await RunDirectory.open(directory)).latestCheckpoint();
  const kept = latest
    ? `The last good checkpoint, of step ${latest.step}, is in ${latest.directory}.`
    : "No checkpoint was saved before.";
  if (diskIsFull)
    return new TsumikiError("CHECKPOINT", `${directory} takes no more data (${message}). ${kept}`, { cause: error });
  return new TsumikiError("NOT_FINITE", `${message} ${kept}`, { cause: error });
}
