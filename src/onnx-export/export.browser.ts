/** A page has no folders. */

import { TsumikiError } from "../errors.js";
import type * as node from "./export.node.js";

export type { ExportOnnxOptions } from "./export.node.js";

export const exportOnnx: typeof node.exportOnnx = async (_model, directory) => {
  throw new TsumikiError("ARGUMENT", `A page cannot write the directory ${directory}. Export in Node.`);
};
