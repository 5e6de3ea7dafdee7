/** A page has no files by path. */

import { TsumikiError } from "../errors.js";
import type * as node from "./files.node.js";

export type { ExportGgufOptions, GgufDType, ImportedGguf } from "./files.node.js";

const noFiles = (path: string) =>
  new TsumikiError("ARGUMENT", `A page has no file ${path}. Convert between GGUF and a Hugging Face directory in Node.`);

export const exportGguf: typeof node.exportGguf = async (_model, _tokenizer, path) => {
  throw noFiles(path);
};

export const importGguf: typeof node.importGguf = async (path) => {
  throw noFiles(path);
};
