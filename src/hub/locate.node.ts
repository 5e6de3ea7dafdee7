/** Where a model is: a directory, or a name on the hub. */

import { stat } from "node:fs/promises";
import { TsumikiError } from "../errors.js";
import type { DownloadOptions } from "./download.node.js";
import { parseModelName, type WantedFiles } from "./names.js";

/**
 * The directory of a model: `source` itself where something is at that path, else the one that a model of this name on the hub
 * is downloaded to.
 */
export async function locateModel(source: string, options: DownloadOptions = {}, wanted: WantedFiles = "model"): Promise<string> {
  const exists = await stat(source).then(
    () => true,
    () => false,
  );
  if (exists || !parseModelName(source, options.revision)) return source;
  const { downloadModel } = await import("./download.node.js");
  try {
    return await downloadModel(source, options, wanted);
  } catch (cause) {
    if (!(cause instanceof TsumikiError) || cause.code !== "NETWORK") throw cause;
    throw new TsumikiError("NETWORK", `There is no directory ${source}, so it was looked for on the hub. ${cause.message}`, {
      cause,
    });
  }
}
