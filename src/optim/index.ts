/** Optimizers and learning-rate schedules. */

export { AdamW, type AdamWOptions } from "./adamw.js";
export {
  type ClippedGradient,
  Optimizer,
  type OptimizerOptions,
  type ParameterGroup,
  type Trained,
  type UnitUpdate,
  type UpdateOptions,
  type UpdateResult,
  type UpdateUnit,
} from "./optimizer.js";
export {
  constantRate,
  cosineSchedule,
  type DecayOptions,
  linearSchedule,
  type Schedule,
  type WarmupOptions,
} from "./schedule.js";
