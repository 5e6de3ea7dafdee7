/** GGUF files: what llama.cpp and the programs built on it read. */

export {
  type ExportGgufOptions,
  exportGguf,
  type GgufDType,
  type ImportedGguf,
  importGguf,
} from "#platform/gguf/files";
