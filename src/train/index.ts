/** Training: the loop, and what a person sees of it. */

export {
  type Generate,
  type RunResult,
  type RunSample,
  type RunTrainingOptions,
  runTraining,
} from "#platform/train/run-training";
export { type LossRow, lossCurveSvg, lossCurveText } from "./loss-curve.js";
export { parseRecipe, type Recipe, type RecipeInput } from "./recipe.js";
export { presetNames, presets } from "./recipe-presets.js";
export { type PlainReporterOptions, plainReporter, type Reporter, type StepReport, silentReporter } from "./reporter.js";
export { type TrainOptions, type TrainResult, train } from "./train.js";
export { type StepMetrics, Trainer, type TrainerOptions, type TrainingState, type ValidationMetrics } from "./trainer.js";
