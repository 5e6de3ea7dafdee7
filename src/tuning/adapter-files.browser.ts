/** Adapters in a page: there are no directories to write to. */

import { TsumikiError } from "../errors.js";
import type * as node from "./adapter-files.node.js";

const refuse = (directory: string): never => {
  throw new TsumikiError(
    "ARGUMENT",
    `A page has no directory ${directory}: read and write adapters with adapter.files() and safetensors' bytes.`,
  );
};

export const saveAdapter: typeof node.saveAdapter = async (_adapter, directory) => refuse(directory);

export const loadAdapter: typeof node.loadAdapter = async (_model, directory) => refuse(directory);
