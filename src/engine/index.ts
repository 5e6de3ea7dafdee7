/** Engines: where models run. */

export { type CompareOptions, type Comparison, compareEngines, type Disagreement, describeComparison } from "./compare.js";
export { defaultEngine, setDefaultEngine } from "./default.js";
export {
  type Device,
  type Engine,
  type EngineBuffer,
  type ExternalFile,
  type LoadedModel,
  type Lowering,
  type ModelSource,
  noLowering,
} from "./engine.js";
export { modelSource } from "./model-source.js";
export { type FallenBack, type OperatorTime, operatorsOnCpu, type ProfileOptions, profileOperators } from "./placement.js";
export { choosePrecision, type PrecisionChoice } from "./precision.js";
export type { DeviceReport, EngineProvider, EngineSettings } from "./provider.js";
export { createEngine, detectEngines, type EngineOptions, type EngineReport } from "./registry.js";
export { inWorker } from "./worker/engine.js";
