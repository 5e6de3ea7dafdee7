/** Optimizers and learning-rate schedules. */

export { Adafactor, type AdafactorOptions } from "./adafactor.js";
export { AdamW, type AdamWOptions, AdamWRule, type AdamWRuleOptions } from "./adamw.js";
export { Lion, type LionOptions } from "./lion.js";
export { isHiddenMatrix, Muon, type MuonOptions } from "./muon.js";
export { Optimizer, type OptimizerOptions, type UpdateOptions, type UpdateResult } from "./optimizer.js";
export { type LayerwiseOptions, layerwiseGroups, type ParameterGroup, type Trained } from "./parameter-groups.js";
export {
  constantRate,
  cosineSchedule,
  type DecayOptions,
  inverseSquareRootSchedule,
  linearSchedule,
  type Schedule,
  type WarmupOptions,
  type WsdOptions,
  wsdSchedule,
} from "./schedule.js";
export { SGD, type SGDOptions } from "./sgd.js";
export type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";
export { WeightAverage, type WeightAverageOptions } from "./weight-average.js";
