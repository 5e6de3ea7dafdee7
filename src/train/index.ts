/** Training: the loop, what it minimizes, and what is reported while it runs. */

export { type PlainReporterOptions, plainReporter, type Reporter, type StepReport, silentReporter } from "./reporter.js";
export { type TrainOptions, type TrainResult, train } from "./train.js";
export { type StepMetrics, Trainer, type TrainerOptions, type TrainingState, type ValidationMetrics } from "./trainer.js";
