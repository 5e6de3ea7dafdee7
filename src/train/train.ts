/** `train`: the whole loop with the usual choices. For a step of one's own, see `compile` and the optimizers. */

import type { BatchSource } from "../data/batch-source.js";
import type { DataSource } from "../data/data-source.js";
import type { Example } from "../data/example.js";
import { tokenSource } from "../data/token-source.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Model, ModelKind, ModelKinds } from "../models/model.js";
import type { Signature } from "../program/signature.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Adapter } from "../tuning/index.js";
import { examplesContext } from "./data-context.js";
import { type ChosenObjective, type Companions, type RowLayout, taskOf } from "./objective.js";
import { causalLM } from "./objectives/causal-lm.js";
import { type Interval, Pace } from "./pace.js";
import { type Reporter, silentReporter } from "./reporter.js";
import { type StepMetrics, type Task, Trainer, type TrainerOptions, type ValidationMetrics } from "./trainer.js";

export interface LoopOptions extends TrainerOptions {
  /** Validate after this many steps, and at the end. Default: only at the end. Without validation data: never. */
  readonly validateEvery?: Interval;
  /** Batches of a validation at most. Default: with "auto" as many as steps since the last one, and at least 16; else all. */
  readonly validationBatches?: number;
  readonly onStep?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onValidation?: (metrics: ValidationMetrics) => void | Promise<void>;
  /** Called after every `saveEvery` steps, at the end, and when the signal stops the run. */
  readonly onSave?: (trainer: Trainer) => void | Promise<void>;
  readonly saveEvery?: Interval;
  /** Called before the first step, e.g. to put a saved state back. */
  readonly onStart?: (trainer: Trainer) => void | Promise<void>;
  /** Stops the run after the step that is under way; what was trained is kept. */
  readonly signal?: AbortSignal;
  readonly reporter?: Reporter;
}

/** Without `steps`, the data is gone through `epochs` times. */
export type TrainOptions = Omit<LoopOptions, "steps"> & ({ readonly steps: number } | { readonly epochs: number });

export interface ObjectiveOptions<K extends ModelKind, O, S extends Signature> {
  readonly objective: ChosenObjective<K, O, S>;
  /** Files (Node), examples, or the objective's batches. */
  readonly data?: string | readonly string[] | readonly Example[] | BatchSource<S>;
  readonly tokenizer?: Tokenizer;
  /** How rows of tokens are cut. Default: as many tokens as the model looks at, up to 512; a tenth for validation. */
  readonly layout?: Partial<RowLayout>;
  /** Frozen models beside the trained one, by the names that the objective has for them. */
  readonly companions?: Companions;
  /** An adapter on the model: it is trained, and the model is not. */
  readonly tuning?: Adapter;
}

export interface TrainResult {
  readonly steps: number;
  /** Mean loss of the last tenth of the steps that were made; NaN when none was. */
  readonly loss: number;
  /** Of the last validation; absent when the run was stopped before one, or there is no validation data. */
  readonly validation: ValidationMetrics | undefined;
  /** Whether the signal stopped the run before its end. */
  readonly stopped: boolean;
}

/**
 * Trains `model` in place: a language model on rows of tokens, or any model with an objective on its data.
 *
 * @throws TsumikiError ARGUMENT for options that contradict each other, DATA where nothing in the data counts for the loss, NOT_FINITE when
 * the training diverges
 */
export function train(model: CausalLM, data: DataSource, options: TrainOptions): Promise<TrainResult>;
export function train<K extends ModelKind, O, S extends Signature>(
  model: ModelKinds[K],
  options: ObjectiveOptions<K, O, S> & TrainOptions,
): Promise<TrainResult>;
export async function train(
  model: Model,
  ...rest: [DataSource, TrainOptions] | [ObjectiveOptions<ModelKind, unknown, Signature> & TrainOptions]
): Promise<TrainResult> {
  if (rest.length === 2) return runLoop(model, taskOf(causalLM(), model, tokenSource(rest[0])), rest[1]);
  const { objective, data, tokenizer, layout, companions, tuning, ...options } = rest[0];
  const source = isSource(data)
    ? data
    : await objective.objective.source(await examplesContext({ objective, model, data, tokenizer, layout }));
  if (tuning && tuning.model !== model)
    throw new ArgumentError("The adapter that was given as tuning is on another model than the one that is trained.");
  const task = taskOf(objective, model, source, { companions, tuning });
  return runLoop(model, task, tuning ? { ...options, trained: tuning } : options);
}

const isSource = (data: unknown): data is BatchSource => typeof data === "object" && data !== null && "signature" in data;

const leastValidationBatches = 16;

/** The loop over the steps of a task. */
export async function runLoop(model: Model, task: Task, options: TrainOptions): Promise<TrainResult> {
  const steps = stepsOf(task, options);
  const { signal, reporter = silentReporter, validateEvery = steps, saveEvery = steps, validationBatches } = options;
  const trainer = new Trainer(model, task, { ...options, steps });
  const { unit, validation: validationData } = task.source;
  const losses: number[] = [];
  let validation: ValidationMetrics | undefined;
  let learned = false;
  try {
    await options.onStart?.(trainer);
    const first = trainer.stepsDone;
    const [validations, saves] = [new Pace(validateEvery, steps, first), new Pace(saveEvery, steps, first)];
    reporter.start(steps, first);
    while (trainer.stepsDone < steps && !signal?.aborted) {
      const metrics = await trainer.step();
      learned ||= metrics.units > 0;
      if (metrics.units > 0) losses.push(metrics.loss);
      else
        reporter.message(`step ${metrics.step}: no ${unit.name} of the batch counts for the loss; the weights stay as they were`);
      reporter.step({ step: metrics.step, loss: metrics.loss, unit: unit.name, unitsPerSecond: metrics.units / metrics.seconds });
      await options.onStep?.(metrics);
      if (!learned && metrics.step - first >= nothingLearnedAfter(task, options, steps))
        throw new TsumikiError("DATA", `No ${unit.name} of the training data counts for the loss: there is nothing to learn.`);
      const isLast = metrics.step === steps;
      if (validationData && (isLast || validations.due(metrics.step)))
        await validations.take(metrics.step, async () => {
          const bounded =
            validateEvery === "auto" ? Math.max(leastValidationBatches, validations.since(metrics.step)) : undefined;
          validation = await trainer.validate({ batches: validationBatches ?? bounded });
          reporter.message(describeValidation(validation, unit.name));
          await options.onValidation?.(validation);
        });
      if (!isLast && saves.due(metrics.step)) await saves.take(metrics.step, async () => options.onSave?.(trainer));
      // An engine on this thread blocks it while it runs: let timers, signals and pages have their turn.
      await new Promise((resume) => setTimeout(resume));
    }
    await options.onSave?.(trainer);
  } finally {
    reporter.finish();
    await trainer.release();
  }
  const last = losses.slice(-Math.ceil(losses.length / 10));
  return {
    steps: trainer.stepsDone,
    loss: last.reduce((sum, loss) => sum + loss, 0) / last.length,
    validation,
    stopped: trainer.stepsDone < steps,
  };
}

function stepsOf({ source }: Task, options: TrainOptions): number {
  if ("steps" in options) return options.steps;
  if (!(options.epochs > 0)) throw new ArgumentError(`Training needs steps, or epochs above 0, but ${options.epochs} was given.`);
  return Math.ceil((options.epochs * source.batchesPerEpoch(options.batchSize)) / (options.accumulation ?? 1));
}

/** Steps after which it is clear that nothing in the data counts: one pass over it. */
const nothingLearnedAfter = ({ source }: Task, { batchSize, accumulation = 1 }: TrainOptions, steps: number): number =>
  Math.min(steps, Math.ceil(source.batchesPerEpoch(batchSize) / accumulation));

/** A validation in a line. */
export function describeValidation({ step, loss, metrics }: ValidationMetrics, unit: string): string {
  const { bitsPerByte, ...others } = metrics;
  const parts = [
    `step ${step}: validation loss ${loss.toFixed(4)} nats per ${unit}`,
    ...(bitsPerByte === undefined ? [] : [`${bitsPerByte.toFixed(3)} bits per byte`]),
    ...Object.entries(others).map(([name, value]) => `${name} ${value.toFixed(4)}`),
  ];
  return parts.join(", ");
}
