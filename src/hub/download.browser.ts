/** A page has no cache of downloaded models: it loads one from its address. */

import { TsumikiError } from "../errors.js";
import type * as node from "./download.node.js";

export type { DownloadOptions, DownloadProgress } from "./download.node.js";

export const downloadModel: typeof node.downloadModel = async (name) => {
  throw new TsumikiError(
    "ARGUMENT",
    `A page cannot keep ${name} in a folder. Give loadModel an address: https://huggingface.co/${name}/resolve/main`,
  );
};
