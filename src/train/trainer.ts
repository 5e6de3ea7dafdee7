/** The training loop, one step at a time; works in Node and in a page. What is learned, and from what, is an objective's business. */

import type { BatchSource, Json } from "../data/batch-source.js";
import type { Engine } from "../engine/engine.js";
import type { PrecisionChoice } from "../engine/precision.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { hostArray } from "../graph/host-array.js";
import { sub } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";
import type { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { AdamW } from "../optim/adamw.js";
import type { Optimizer } from "../optim/optimizer.js";
import { constantRate, cosineSchedule, type Schedule } from "../optim/schedule.js";
import { compile, type Program, type Results } from "../program/compile.js";
import { type Feeds, float32, type Signature } from "../program/signature.js";
import type { Losses, Traced } from "./losses.js";

export interface TrainerOptions {
  /** Steps of the whole run: the length of the schedule. */
  readonly steps: number;
  /** The peak of a cosine schedule with warm-up, or a schedule of one's own. */
  readonly learningRate: number | Schedule;
  /** Rows (texts, pairs, pictures) in one batch. */
  readonly batchSize: number;
  /** Batches whose gradients are added up for one step. Default 1. */
  readonly accumulation?: number;
  /** Default: `defaultWarmupSteps`, a twentieth of the steps. */
  readonly warmupSteps?: number;
  /** Where the cosine ends. Default: a tenth of the peak. */
  readonly minimumLearningRate?: number;
  /** Maximum norm of the gradients; they are scaled down to it. Default 1. */
  readonly clipNorm?: number;
  /** Default 0.1; vectors are not decayed. */
  readonly weightDecay?: number;
  /** Default [0.9, 0.95]. */
  readonly betas?: readonly [number, number];
  /** Instead of AdamW with the options above; for parameter groups or another method. */
  readonly optimizer?: Optimizer;
  /** What is trained: a part of the model, or an adapter beside it. Default: the model, as far as it is not frozen. */
  readonly trained?: Module;
  /** Of initial values, dropout and the order of the data. Default 0. */
  readonly seed?: number;
  readonly engine?: Engine | Promise<Engine>;
  /** What products of matrices are computed in, in training and validation: see `compile`. Default fp32. */
  readonly precision?: PrecisionChoice;
}

export const defaultWarmupSteps = (steps: number): number => Math.ceil(steps / 20);

/** What is learned from what: an objective bound to a model and its data. */
export interface Task<S extends Signature = Signature, P extends Json = Json> {
  readonly source: BatchSource<S, P>;
  /** Records the losses of a batch. */
  loss(batch: Traced<S>): Losses;
  /** What a validation reports besides its loss. */
  summarize?(loss: number): Readonly<Record<string, number>>;
}

export interface StepMetrics {
  /** Steps done, this one included. */
  readonly step: number;
  /** Mean over the units of the step, before the update; auxiliary losses are reported apart. */
  readonly loss: number;
  /** Auxiliary losses, such as a z-loss or the balance of experts. Absent where there are none. */
  readonly auxiliaryLoss?: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Units (tokens, pairs, images) that counted for the loss. Where none did, the weights stay as they were. */
  readonly units: number;
  /** What the objective measures besides. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: number;
}

export interface ValidationMetrics {
  readonly step: number;
  /** Mean over the units of the validation data. */
  readonly loss: number;
  /** What the objective measures besides, such as bits per byte. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** With the variables of model and optimizer, all that a run needs to be resumed exactly as if it had not been interrupted. */
export interface TrainingState {
  readonly step: number;
  readonly position: Json;
  readonly seed: number;
}

/** Scalars of a step by name: `loss`, `weight`, perhaps `auxiliaryLoss`, and `sum:NAME` and `weight:NAME` of each further metric. */
type Measured = Readonly<Record<string, Tensor>>;
type StepProgram = Program<Signature, Measured>;

const rate = { learningRate: float32() };
type ApplyProgram = Program<typeof rate, { gradientNorm: Tensor }>;

export class Trainer {
  readonly optimizer: Optimizer;
  readonly #source: BatchSource;
  readonly #task: Task;
  readonly #options: TrainerOptions;
  readonly #schedule: Schedule;
  readonly #evaluate: StepProgram;
  /** A whole step, or where batches are accumulated one of them, and what applies them. */
  readonly #step: StepProgram;
  readonly #applyStep: ApplyProgram | undefined;
  #stepsDone = 0;
  #position: Json;

  constructor(model: Module, task: Task, options: TrainerOptions) {
    const { accumulation = 1, batchSize, clipNorm = 1, seed = 0, steps, precision = "fp32" } = options;
    for (const [name, value] of Object.entries({ steps, batchSize, accumulation }))
      if (!Number.isInteger(value) || value < 1)
        throw new ArgumentError(`Training needs a whole number of at least 1 for ${name}, but ${value} was given.`);
    const { trained = model } = options;
    model.initialize(seed);
    this.#task = task as unknown as Task; // whatever its signature is, the loop only passes it on
    this.#source = this.#task.source;
    this.#options = options;
    this.#schedule = scheduleOf(options);
    this.#position = this.#source.start(seed);
    this.optimizer =
      options.optimizer ?? new AdamW(trained, { weightDecay: options.weightDecay ?? 0.1, betas: options.betas ?? [0.9, 0.95] });

    const shared = { seed, precision, ...(options.engine ? { engine: options.engine } : {}) };
    const { signature } = this.#source;
    const losses = (batch: Traced<Signature>) => this.#task.loss(batch);
    this.#evaluate = compile((batch) => measured(losses(batch)), signature, {
      ...shared,
      training: false,
      specialize: true, // as thrifty as training: blocks of attention and chunks of the loss need to know the sizes
    });
    if (accumulation === 1) {
      const step = ({ learningRate, ...batch }: Traced<Signature>): Measured => {
        const made = losses(batch);
        const { gradientNorm } = this.optimizer.update(made.loss, { learningRate: learningRate as Tensor, clipNorm });
        return { ...measured(made), gradientNorm };
      };
      this.#step = compile(step, { ...signature, ...rate } as Signature, shared);
    } else {
      const microStep = (batch: Traced<Signature>): Measured => {
        const made = losses(batch);
        this.optimizer.accumulate(made.loss, { weight: made.weight });
        return measured(made);
      };
      this.#step = compile(microStep, signature, { ...shared, training: true });
      this.#applyStep = compile(({ learningRate }) => this.optimizer.apply({ learningRate, clipNorm }), rate, shared);
    }
  }

  get stepsDone(): number {
    return this.#stepsDone;
  }

  get state(): TrainingState {
    return { step: this.#stepsDone, position: this.#position, seed: this.#options.seed ?? 0 };
  }

  /** Variables of the optimizer by name, for checkpoints. */
  get optimizerVariables(): ReadonlyMap<string, Variable> {
    return this.optimizer.variables();
  }

  /** Puts a state back; the variables of model and optimizer must have been put back too. */
  restore(state: TrainingState): void {
    if (state.seed !== (this.#options.seed ?? 0))
      throw new TsumikiError(
        "STATE",
        `The run was begun with seed ${state.seed}, but is resumed with ${this.#options.seed ?? 0}: its data would come in another order.`,
      );
    this.#stepsDone = state.step;
    this.#position = state.position;
  }

  /** One step: a batch (or several, accumulated), its gradients, one update. */
  async step(signal?: AbortSignal): Promise<StepMetrics> {
    const started = performance.now();
    const learningRate = this.#schedule(this.#stepsDone);
    const { next, ...made } = await (this.#applyStep
      ? this.#accumulatedStep(learningRate, signal)
      : this.#singleStep(learningRate, signal));
    this.#position = next;
    this.#stepsDone++;
    return { step: this.#stepsDone, ...made, learningRate, seconds: (performance.now() - started) / 1000 };
  }

  async #singleStep(learningRate: number, signal?: AbortSignal) {
    const { feeds, next } = await this.#source.batch(this.#position, this.#options.batchSize);
    const given: Feeds<Signature> = { ...feeds, learningRate: scalar(learningRate) };
    const norm = (results: Results<Measured>) => results.gradientNorm?.item() ?? Number.NaN;
    const run = await this.#step(given, {
      step: this.#stepsDone,
      ...(signal ? { signal } : {}),
      // A step whose loss or gradient is not finite, or in which nothing counts, leaves the weights as they were.
      commit: (results) => Number.isFinite(minimized(results)) && Number.isFinite(norm(results)) && weightOf(results) > 0,
    });
    const [loss, gradientNorm] = [minimized(run), norm(run)];
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
      throw this.#notFinite(loss, gradientNorm, await this.#step.firstNotFinite(given, { step: this.#stepsDone }));
    const totals = new Totals();
    totals.add(run);
    return { ...totals.means(), gradientNorm, next };
  }

  async #accumulatedStep(learningRate: number, signal?: AbortSignal) {
    const applyStep = this.#applyStep as ApplyProgram;
    const totals = new Totals();
    let position = this.#position;
    await this.optimizer.discardAccumulated();
    for (let microStep = 0; microStep < (this.#options.accumulation ?? 1); microStep++) {
      const { feeds, next } = await this.#source.batch(position, this.#options.batchSize);
      const place = { step: this.#stepsDone, microStep };
      const run = await this.#step(feeds, { ...place, ...(signal ? { signal } : {}) });
      if (!Number.isFinite(minimized(run)))
        throw this.#notFinite(minimized(run), undefined, await this.#step.firstNotFinite(feeds, place));
      totals.add(run);
      position = next;
    }
    const means = totals.means();
    const run = await applyStep(
      { learningRate },
      { commit: ({ gradientNorm }) => Number.isFinite(gradientNorm.item()) && means.units > 0 },
    );
    const gradientNorm = run.gradientNorm.item();
    if (!Number.isFinite(gradientNorm))
      throw this.#notFinite(means.loss, gradientNorm, await applyStep.firstNotFinite({ learningRate }));
    return { ...means, gradientNorm, next: position };
  }

  /**
   * Loss over the validation data; the weights stay as they are.
   *
   * @param options.batches at most so many of them. Default: all
   * @throws TsumikiError DATA where there is none, or nothing in it counts
   */
  async validate({ signal, batches = Number.POSITIVE_INFINITY }: ValidateOptions = {}): Promise<ValidationMetrics> {
    const totals = new Totals();
    let left = batches;
    for await (const feeds of this.#source.validation?.(this.#options.batchSize) ?? []) {
      if (left-- <= 0) break;
      totals.add(await this.#evaluate(feeds, signal ? { signal } : {}));
    }
    const { loss, units, metrics } = totals.means();
    if (units === 0)
      throw new TsumikiError(
        "DATA",
        `The validation data has nothing that counts (no ${this.#source.unit.name}): take a larger validation share or more data.`,
      );
    return { step: this.#stepsDone, loss, metrics: { ...metrics, ...this.#task.summarize?.(loss) } };
  }

  async release(): Promise<void> {
    for (const program of [this.#evaluate, this.#step, this.#applyStep]) await program?.release();
  }

  #notFinite(
    loss: number,
    gradientNorm: number | undefined,
    first: { readonly value: string; readonly module: string } | undefined,
  ): TsumikiError {
    const where = first
      ? ` The first value that was not finite: ${first.value}${first.module ? ` in ${first.module}` : ""}.`
      : "";
    return new TsumikiError(
      "NOT_FINITE",
      `Step ${this.#stepsDone + 1}: the loss was ${loss}${gradientNorm === undefined ? "" : ` and the gradient's norm ${gradientNorm}`}.${where} The weights are those of step ${this.#stepsDone}. ` +
        "A smaller learning rate, a longer warm-up or a smaller clipNorm usually helps.",
    );
  }
}

export interface ValidateOptions {
  readonly signal?: AbortSignal | undefined;
  readonly batches?: number | undefined;
}

/** The reported loss, and auxiliary losses apart from it. */
function measured({ loss, weight, reported = loss, metrics = {} }: Losses): Measured {
  return {
    loss: reported,
    weight,
    ...(reported === loss ? {} : { auxiliaryLoss: sub(loss, reported) }),
    ...Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [`sum:${name}`, metric.sum])),
    ...Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [`weight:${name}`, metric.weight])),
  };
}

const scalar = (value: number) => hostArray("float32", [], Float32Array.of(value));

/** What a step minimized: the sum of the losses that are reported. */
const minimized = (results: Results<Measured>): number =>
  (results.loss?.item() ?? Number.NaN) + (results.auxiliaryLoss?.item() ?? 0);

const weightOf = (results: Results<Measured>): number => results.weight?.item() ?? 0;

/** Means over several batches, each counted by its weight. */
class Totals {
  #units = 0;
  #loss = 0;
  #auxiliary: number | undefined;
  readonly #metrics = new Map<string, { sum: number; weight: number }>();

  add(results: Results<Measured>): void {
    const weight = weightOf(results);
    this.#units += weight;
    this.#loss += (results.loss?.item() ?? 0) * weight;
    if (results.auxiliaryLoss) this.#auxiliary = (this.#auxiliary ?? 0) + results.auxiliaryLoss.item() * weight;
    for (const [key, value] of Object.entries(results)) {
      const [kind, name = ""] = key.split(":");
      if (kind !== "sum") continue;
      const metric = this.#metrics.get(name) ?? { sum: 0, weight: 0 };
      metric.sum += value.item();
      metric.weight += results[`weight:${name}`]?.item() ?? 0;
      this.#metrics.set(name, metric);
    }
  }

  means() {
    const mean = (total: number) => total / Math.max(this.#units, Number.MIN_VALUE);
    return {
      loss: mean(this.#loss),
      ...(this.#auxiliary === undefined ? {} : { auxiliaryLoss: mean(this.#auxiliary) }),
      units: this.#units,
      metrics: Object.fromEntries(
        [...this.#metrics].flatMap(([name, { sum, weight }]) => (weight > 0 ? [[name, sum / weight]] : [])),
      ) as Readonly<Record<string, number>>,
    };
  }
}

function scheduleOf({ learningRate, steps, warmupSteps, minimumLearningRate }: TrainerOptions): Schedule {
  if (typeof learningRate === "function") return learningRate;
  if (!(learningRate > 0)) throw new ArgumentError(`A learning rate lies above 0, but ${learningRate} was given.`);
  if (steps === 1) return constantRate({ peak: learningRate });
  return cosineSchedule({
    peak: learningRate,
    totalSteps: steps,
    warmupSteps: warmupSteps ?? defaultWarmupSteps(steps),
    minimum: minimumLearningRate ?? learningRate / 10,
  });
}
