/** A page has no files by path. */

import { TsumikiError } from "../errors.js";
import type * as node from "./variables.node.js";

export type { MatchOptions } from "./variables.node.js";

const noFiles = (path: string) =>
  new TsumikiError(
    "ARGUMENT",
    `A page cannot open the file ${path}. Use encodeSafetensors and decodeSafetensors with its bytes.`,
  );

export const saveVariables: typeof node.saveVariables = async (path) => {
  throw noFiles(path);
};
export const loadVariables: typeof node.loadVariables = async (path) => {
  throw noFiles(path);
};
export const openVariables: typeof node.openVariables = async (path) => {
  throw noFiles(path);
};
