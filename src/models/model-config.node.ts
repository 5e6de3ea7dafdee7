/** The configuration of a model, wherever it is. */

import { join } from "node:path";
import { TsumikiError } from "../errors.js";
import { readJsonObject } from "../files/json.node.js";
import type { DownloadOptions } from "../hub/download.node.js";
import { locateModel } from "../hub/locate.node.js";
import type { HuggingFaceConfig } from "./configs/entries.js";

/**
 * The content of a `config.json`; of a model on the hub nothing else is downloaded.
 *
 * @param source the path of a `config.json`, a directory that holds one, or the name of a model on the hub
 * @throws TsumikiError CONFIG where there is none or it is not JSON, NETWORK as `downloadModel`
 */
export async function modelConfig(source: string, options: DownloadOptions = {}): Promise<HuggingFaceConfig> {
  const path = source.endsWith(".json") ? source : join(await locateModel(source, options, "configuration"), "config.json");
  const config = await readJsonObject(path);
  if (config) return config;
  throw new TsumikiError(
    "CONFIG",
    `There is no ${path}. Give a config.json, a directory that holds one, or the name of a model on the hub (org/name).`,
  );
}
