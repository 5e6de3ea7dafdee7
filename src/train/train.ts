/** `train`: the whole loop with the usual choices. For a step of one's own, see `compile` and the optimizers. */

import type { DataSource } from "../data/data-source.js";
import type { CausalLM } from "../models/causal-lm.js";
import { type Reporter, silentReporter } from "./reporter.js";
import { type StepMetrics, Trainer, type TrainerOptions, type ValidationMetrics } from "./trainer.js";

export interface TrainOptions extends TrainerOptions {
  /** Validate after this many steps, and at the end. Default: only at the end. Without a validation part: never. */
  readonly validateEvery?: number;
  readonly onStep?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onValidation?: (metrics: ValidationMetrics) => void | Promise<void>;
  /** Called after every `saveEvery` steps, at the end, and when the signal stops the run. */
  readonly onSave?: (trainer: Trainer) => void | Promise<void>;
  readonly saveEvery?: number;
  /** Called before the first step, e.g. to put a saved state back. */
  readonly onStart?: (trainer: Trainer) => void | Promise<void>;
  /** Stops the run after the step that is under way; what was trained is kept. */
  readonly signal?: AbortSignal;
  readonly reporter?: Reporter;
}

export interface TrainResult {
  readonly steps: number;
  /** Mean loss of the last tenth of the steps that were made, in nats per token; NaN when none was. */
  readonly loss: number;
  /** Of the last validation; absent when the run was stopped before one, or the data has no validation part. */
  readonly validation: ValidationMetrics | undefined;
  /** Whether the signal stopped the run before its end. */
  readonly stopped: boolean;
}

/** Trains `model` on `data`, in place. */
export async function train(model: CausalLM, data: DataSource, options: TrainOptions): Promise<TrainResult> {
  const { steps, signal, reporter = silentReporter, validateEvery = steps, saveEvery = steps } = options;
  const trainer = new Trainer(model, data, options);
  const losses: number[] = [];
  let validation: ValidationMetrics | undefined;
  try {
    await options.onStart?.(trainer);
    reporter.start(steps, trainer.stepsDone);
    while (trainer.stepsDone < steps && !signal?.aborted) {
      const metrics = await trainer.step();
      losses.push(metrics.loss);
      reporter.step({ step: metrics.step, loss: metrics.loss, tokensPerSecond: metrics.tokens / metrics.seconds });
      await options.onStep?.(metrics);
      if (data.validationTokenCount > 0 && (metrics.step % validateEvery === 0 || metrics.step === steps)) {
        validation = await trainer.validate();
        reporter.message(describe(validation));
        await options.onValidation?.(validation);
      }
      if (metrics.step % saveEvery === 0 && metrics.step < steps) await options.onSave?.(trainer);
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

const describe = ({ step, loss, bitsPerByte }: ValidationMetrics): string =>
  `step ${step}: validation loss ${loss.toFixed(4)} nats per token, ${bitsPerByte.toFixed(3)} bits per byte`;
