/** Training: the loop, and what a person sees of it. */

export { type LossRow, lossCurveSvg, lossCurveText } from "./loss-curve.js";
export { type PlainReporterOptions, plainReporter, type Reporter, type StepReport, silentReporter } from "./reporter.js";
export { type TrainOptions, type TrainResult, train } from "./train.js";
export { type StepMetrics, Trainer, type TrainerOptions, type TrainingState, type ValidationMetrics } from "./trainer.js";
