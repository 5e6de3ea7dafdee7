/** A page has no files by path: what Node does with one, it does with the bytes. */

import { TsumikiError } from "../errors.js";
import type * as node from "./safetensors.node.js";

export type { SafetensorsEntry, SafetensorsFile } from "./safetensors.node.js";

export const readSafetensors: typeof node.readSafetensors = async (path) => {
  throw new TsumikiError("ARGUMENT", `A page cannot open the file ${path}. Fetch its bytes and give them to decodeSafetensors.`);
};

export const writeSafetensors: typeof node.writeSafetensors = async (path) => {
  throw new TsumikiError("ARGUMENT", `A page cannot write the file ${path}. Offer the bytes of encodeSafetensors as a download.`);
};
