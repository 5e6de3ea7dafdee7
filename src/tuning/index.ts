/** Tuning methods: a frozen model and a few parameters beside it. One file a method. */

export { loadAdapter } from "#platform/tuning/adapter-files";
export { type AdaptationModule, type AdapterDescription, adapt, SiteAdapter } from "./adapt.js";
export {
  type Adaptation,
  type Adapted,
  Adapter,
  type AdapterFiles,
  type DerivedTensor,
  type SaveAdapterOptions,
  withoutAdapters,
} from "./adapter.js";
export { bitfit } from "./bitfit.js";
export { Ia3, type Ia3Options, ia3 } from "./ia3.js";
export { Lora, type LoraOptions, type LoraSettings, lora } from "./lora.js";
export {
  applyTuning,
  type PeftFormat,
  type RestoredAdapter,
  registerTuningMethod,
  type TuningContext,
  type TuningMethod,
  type TuningSettings,
  tuningMethods,
  tuningSettings,
} from "./registry.js";
export { findTargets, possibleTargets, type Target, type Targets, targetNames } from "./targets.js";
