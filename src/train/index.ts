/** Training: the loop, what is learned from what, and what is reported while it runs. */

export type { Companion } from "./companions.js";
export type { Losses, Traced } from "./losses.js";
export {
  type ChosenObjective,
  type Companions,
  type DataContext,
  defineObjective,
  knownObjectives,
  type LossContext,
  type Objective,
  type ObjectiveMaker,
  objectiveNamed,
  type RowLayout,
  taskOf,
} from "./objective.js";
export type { Interval } from "./pace.js";
export { type PlainReporterOptions, plainReporter, type Reporter, type StepReport, silentReporter } from "./reporter.js";
export { describeValidation, type ObjectiveOptions, type TrainOptions, type TrainResult, train } from "./train.js";
export {
  type StepMetrics,
  type Task,
  Trainer,
  type TrainerOptions,
  type TrainingState,
  type ValidateOptions,
  type ValidationMetrics,
} from "./trainer.js";
