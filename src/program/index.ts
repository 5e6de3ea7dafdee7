/** From a function to a program. */

export {
  type CapturedRun,
  type CompileOptions,
  compile,
  type Inside,
  type Program,
  type ProgramStatistics,
  type Results,
  type RunOptions,
} from "./compile.js";
export { DeviceValue } from "./device-value.js";
export type { NotFinite } from "./diagnose.js";
export {
  bool,
  type Feed,
  type Feeds,
  float16,
  float32,
  float64,
  type InputSpec,
  int32,
  int64,
  type NestedNumbers,
  type Signature,
  type SizeSpec,
  uint8,
} from "./signature.js";
export { StateStore, stateStore } from "./store.js";
