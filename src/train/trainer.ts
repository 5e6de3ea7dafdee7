/** The training loop, one step at a time; works in Node and in a page. Files and terminals are other modules' business. */

import { type DataPosition, type DataSource, ignoredLabel, startOfData, type TokenBatch } from "../data/data-source.js";
import type { Engine } from "../engine/engine.js";
import type { PrecisionChoice } from "../engine/precision.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { notEqual } from "../graph/ops/compare.js";
import { sum } from "../graph/ops/reduce.js";
import type { Tensor } from "../graph/tensor.js";
import type { Variable } from "../graph/variable.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { TrainingLosses } from "../nn/linear-cross-entropy.js";
import { AdamW } from "../optim/adamw.js";
import type { Optimizer } from "../optim/optimizer.js";
import { constantRate, cosineSchedule, type Schedule } from "../optim/schedule.js";
import { compile, type Program, type Results } from "../program/compile.js";
import { float32, int32 } from "../program/signature.js";

export interface TrainerOptions {
  /** Steps of the whole run: the length of the schedule. */
  readonly steps: number;
  /** The peak of a cosine schedule with warm-up, or a schedule of one's own. */
  readonly learningRate: number | Schedule;
  /** Sequences in one batch. */
  readonly batchSize: number;
  /** Batches whose gradients are added up for one step. Default 1. */
  readonly accumulation?: number;
  /** Default: a hundredth of the steps. */
  readonly warmupSteps?: number;
  /** Where the cosine ends. Default: a tenth of the peak. */
  readonly minimumLearningRate?: number;
  /** Norm to which gradients are clipped. Default 1. */
  readonly clipNorm?: number;
  /** Default 0.1; vectors are not decayed. */
  readonly weightDecay?: number;
  /** Weight of the z-loss, (log Σ exp(logits))², which keeps logits from drifting (PaLM takes 1e-4). Default 0. */
  readonly zLoss?: number;
  /** Default [0.9, 0.95]. */
  readonly betas?: readonly [number, number];
  /** Instead of AdamW with the options above; for parameter groups or another method. */
  readonly optimizer?: Optimizer;
  /** Of initial values, dropout and the order of the data. Default 0. */
  readonly seed?: number;
  readonly engine?: Engine | Promise<Engine>;
  /** What products of matrices are computed in, in training and validation: see `compile`. Default fp32. */
  readonly precision?: PrecisionChoice;
}

export interface StepMetrics {
  /** Steps done, this one included. */
  readonly step: number;
  /** Mean cross-entropy in nats per token, before the update. */
  readonly loss: number;
  /** What else was made small: the z-loss, what balances experts. Absent where there is nothing else. */
  readonly auxiliaryLoss?: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** Tokens that counted for the loss. */
  readonly tokens: number;
  readonly seconds: number;
}

export interface ValidationMetrics {
  readonly step: number;
  /** Nats per token over the whole validation part. */
  readonly loss: number;
  readonly bitsPerByte: number;
}

/** With the variables of model and optimizer, all that a run needs to go on exactly as if it had not been interrupted. */
export interface TrainingState {
  readonly step: number;
  readonly position: DataPosition;
  readonly seed: number;
}

const idsAndLabels = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };
/** What batches of documents have besides. */
const documentPlaces = { segments: int32("batch", "seq"), positions: int32("batch", "seq") };

type BatchSignature = typeof idsAndLabels & Partial<typeof documentPlaces>;
type StepSignature = BatchSignature & { learningRate: ReturnType<typeof float32<[]>> };
/** What is told of a step's losses. */
type Losses = { loss: Tensor; auxiliaryLoss?: Tensor };
type StepProgram = Program<StepSignature, Losses & { gradientNorm: Tensor }>;
type MicroStepProgram = Program<BatchSignature, Losses>;
type ApplyProgram = Program<{ learningRate: ReturnType<typeof float32<[]>> }, { gradientNorm: Tensor }>;

export class Trainer {
  readonly optimizer: Optimizer;
  readonly #data: DataSource;
  readonly #options: TrainerOptions;
  readonly #schedule: Schedule;
  readonly #evaluate: Program<BatchSignature, { loss: Tensor }>;
  readonly #step: StepProgram | undefined;
  readonly #microStep: MicroStepProgram | undefined;
  readonly #applyStep: ApplyProgram | undefined;
  #stepsDone = 0;
  #position: DataPosition;

  constructor(model: CausalLM, data: DataSource, options: TrainerOptions) {
    const { accumulation = 1, batchSize, clipNorm = 1, seed = 0, steps, zLoss = 0 } = options;
    for (const [name, value] of Object.entries({ steps, batchSize, accumulation }))
      if (!Number.isInteger(value) || value < 1)
        throw new ArgumentError(`Training needs a whole number of at least 1 for ${name}, but ${value} was given.`);
    if (!(zLoss >= 0 && Number.isFinite(zLoss)))
      throw new ArgumentError(`The weight of the z-loss is a number of at least 0, but ${zLoss} was given for zLoss.`);
    if (data.vocabSize > model.vocabSize)
      throw new ArgumentError(
        `The data has tokens up to ${data.vocabSize - 1}, but the model's vocabulary ends at ${model.vocabSize - 1}: make it with vocabSize ${data.vocabSize}.`,
      );
    if (data.context > model.contextLength)
      throw new ArgumentError(
        `The data comes in windows of ${data.context} tokens, but the model looks at ${model.contextLength} at most.`,
      );
    model.initialize(seed);
    this.#data = data;
    this.#options = options;
    this.#schedule = scheduleOf(options);
    this.#position = startOfData(seed);
    this.optimizer =
      options.optimizer ?? new AdamW(model, { weightDecay: options.weightDecay ?? 0.1, betas: options.betas ?? [0.9, 0.95] });

    const { precision = "fp32" } = options;
    const shared = { seed, precision, ...(options.engine ? { engine: options.engine } : {}) };
    const batchSignature: BatchSignature = data.segmented ? { ...idsAndLabels, ...documentPlaces } : idsAndLabels;
    const lossesOf = ({ ids, labels, ...places }: TracedBatch) => model.losses(ids, labels, { ...places, zLoss });
    this.#evaluate = compile((batch) => ({ loss: lossesOf(batch).crossEntropy }), batchSignature, {
      ...shared,
      training: false,
    });
    if (accumulation === 1)
      this.#step = compile(
        ({ learningRate, ...batch }) => {
          const losses = lossesOf(batch);
          const { gradientNorm } = this.optimizer.update(losses.loss, { learningRate, clipNorm });
          return { ...reported(losses), gradientNorm };
        },
        { ...batchSignature, learningRate: float32() },
        shared,
      );
    else {
      this.#microStep = compile(
        (batch) => {
          const losses = lossesOf(batch);
          this.optimizer.accumulate(losses.loss, { weight: sum(cast(notEqual(batch.labels, ignoredLabel), "float32")) });
          return reported(losses);
        },
        batchSignature,
        { ...shared, training: true },
      );
      this.#applyStep = compile(
        ({ learningRate }) => this.optimizer.apply({ learningRate, clipNorm }),
        { learningRate: float32() },
        shared,
      );
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

  /** Goes on from a state; the variables of model and optimizer must have been put back too. */
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
    const { next, ...made } = await (this.#step
      ? this.#singleStep(this.#step, learningRate, signal)
      : this.#accumulatedStep(learningRate, signal));
    this.#position = next;
    this.#stepsDone++;
    return { step: this.#stepsDone, ...made, learningRate, seconds: (performance.now() - started) / 1000 };
  }

  async #singleStep(program: StepProgram, learningRate: number, signal?: AbortSignal) {
    const { batch, next } = this.#data.batch(this.#position, this.#options.batchSize);
    const feeds = { ...batch, learningRate };
    const run = await program(feeds, {
      step: this.#stepsDone,
      ...(signal ? { signal } : {}),
      // A step whose loss or gradient is not finite leaves the weights as they were.
      commit: (results) => Number.isFinite(minimized(results)) && Number.isFinite(results.gradientNorm.item()),
    });
    const [loss, gradientNorm] = [minimized(run), run.gradientNorm.item()];
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
      throw this.#notFinite(loss, gradientNorm, await program.firstNotFinite(feeds, { step: this.#stepsDone }));
    const auxiliary = run.auxiliaryLoss && { auxiliaryLoss: run.auxiliaryLoss.item() };
    return { loss: run.loss.item(), ...auxiliary, gradientNorm, tokens: countTokens(batch), next };
  }

  async #accumulatedStep(learningRate: number, signal?: AbortSignal) {
    const microStep = this.#microStep as MicroStepProgram;
    const applyStep = this.#applyStep as ApplyProgram;
    let position = this.#position;
    let lossSum = 0;
    let auxiliarySum: number | undefined;
    let tokens = 0;
    await this.optimizer.discardAccumulated();
    for (let i = 0; i < (this.#options.accumulation ?? 1); i++) {
      const { batch, next } = this.#data.batch(position, this.#options.batchSize);
      const run = await microStep(batch, { step: this.#stepsDone, microStep: i, ...(signal ? { signal } : {}) });
      if (!Number.isFinite(minimized(run)))
        throw this.#notFinite(
          minimized(run),
          undefined,
          await microStep.firstNotFinite(batch, { step: this.#stepsDone, microStep: i }),
        );
      const counted = countTokens(batch);
      lossSum += run.loss.item() * counted;
      if (run.auxiliaryLoss) auxiliarySum = (auxiliarySum ?? 0) + run.auxiliaryLoss.item() * counted;
      tokens += counted;
      position = next;
    }
    const run = await applyStep({ learningRate }, { commit: ({ gradientNorm }) => Number.isFinite(gradientNorm.item()) });
    const gradientNorm = run.gradientNorm.item();
    if (!Number.isFinite(gradientNorm))
      throw this.#notFinite(lossSum / tokens, gradientNorm, await applyStep.firstNotFinite({ learningRate }));
    const mean = (total: number) => total / Math.max(1, tokens);
    const auxiliary = auxiliarySum === undefined ? {} : { auxiliaryLoss: mean(auxiliarySum) };
    return { loss: mean(lossSum), ...auxiliary, gradientNorm, tokens, next: position };
  }

  /** Loss over the whole validation part; the weights stay as they are. */
  async validate(signal?: AbortSignal): Promise<ValidationMetrics> {
    let lossSum = 0;
    let tokens = 0;
    for (const batch of this.#data.validation(this.#options.batchSize)) {
      const { loss } = await this.#evaluate(batch, signal ? { signal } : {});
      const counted = countTokens(batch);
      lossSum += loss.item() * counted;
      tokens += counted;
    }
    if (tokens === 0)
      throw new TsumikiError("DATA", "The validation part has no tokens: take a larger validation share or a longer text.");
    return { step: this.#stepsDone, loss: lossSum / tokens, bitsPerByte: lossSum / Math.LN2 / this.#data.validationBytes };
  }

  async release(): Promise<void> {
    for (const program of [this.#evaluate, this.#step, this.#microStep, this.#applyStep]) await program?.release();
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

/** Cross-entropy, and apart from it what else is made small. */
const reported = ({ loss, crossEntropy }: TrainingLosses): Losses =>
  loss === crossEntropy ? { loss } : { loss: crossEntropy, auxiliaryLoss: sub(loss, crossEntropy) };

/** What a step made small: the sum of what is reported. */
const minimized = ({ loss, auxiliaryLoss }: Results<Losses>): number => loss.item() + (auxiliaryLoss?.item() ?? 0);

interface TracedBatch {
  readonly ids: Tensor;
  readonly labels: Tensor;
  readonly segments?: Tensor;
  readonly positions?: Tensor;
}

function scheduleOf({ learningRate, steps, warmupSteps, minimumLearningRate }: TrainerOptions): Schedule {
  if (typeof learningRate === "function") return learningRate;
  if (!(learningRate > 0)) throw new ArgumentError(`A learning rate lies above 0, but ${learningRate} was given.`);
  if (steps === 1) return constantRate({ peak: learningRate });
  return cosineSchedule({
    peak: learningRate,
    totalSteps: steps,
    warmupSteps: warmupSteps ?? Math.ceil(steps / 100),
    minimum: minimumLearningRate ?? learningRate / 10,
  });
}

function countTokens({ labels }: TokenBatch): number {
  let count = 0;
  for (const label of labels.data) if (label !== ignoredLabel) count++;
  return count;
}
