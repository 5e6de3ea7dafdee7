/** Tuning methods: a frozen model and a few parameters beside it. One file a method. */

export { loadAdapter } from "#platform/tuning/adapter-files";
export {
  type Adaptation,
  type Adapted,
  Adapter,
  type AdapterFiles,
  type DerivedTensor,
  type SaveAdapterOptions,
  withoutAdapters,
} from "./adapter.js";
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
export { findTargets, possibleTargets, type Target, type Targets } from "./targets.js";
