/** What a model costs: parameters, operations, memory, from its configuration alone. */

export { type EngineMemory, type EngineName, engineMemory, engineNames } from "./engine-memory.js";
export { type GeneralInspection, type GeneralInspectOptions, inspectAnyModel } from "./general.js";
export { type DecoderGeometry, decoderGeometry } from "./geometry.js";
export {
  type InferenceDType,
  type Inspection,
  type InspectOptions,
  inferenceDTypes,
  inspectModel,
  kvCacheBytesPerSequence,
  meanVisibleKeys,
} from "./inspect.js";
export type { ModuleParameters } from "./modules.js";
export { type OptimizerName, optimizerElements, optimizerNames } from "./optimizer-state.js";
export { generalInspectionTable, inspectionTable } from "./table.js";
export { lowered, recomputeLayers, stepGraph, stepMemory } from "./training-process.js";
export {
  compareWithValues,
  type ModelInputValues,
  modelValues,
  outputNames,
  takeIds,
  type ValueComparison,
  type ValueDifference,
  type ValuesOptions,
  valueNames,
} from "./values.js";
