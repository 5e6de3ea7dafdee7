export { type ExportGgufOptions, exportGguf, type GgufDType } from "./export.node.js";
export { type ImportedGguf, importGguf } from "./import.node.js";
