/**
 * Checkpoints: the safetensors format in memory, everywhere, and on disk, in Node; the names of parameters in Hugging Face's
 * files.
 */

export {
  readSafetensors,
  type SafetensorsEntry,
  type SafetensorsFile,
  writeSafetensors,
} from "#platform/checkpoint/safetensors";
export { loadVariables, type MatchOptions, openVariables, saveVariables } from "#platform/checkpoint/variables";
export { toCheckpointName, toPropertyPath } from "./names.js";
export {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsHeader,
  type SafetensorsMetadata,
  type TensorDescription,
  type TensorLayout,
} from "./safetensors-format.js";
