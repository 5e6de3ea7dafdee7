/** A model that a command works with: of a directory, or of the hub with its download shown. */

import type { CausalLM } from "../models/index.js";
import { downloadReport } from "./download-progress.js";
import { interruptSignal } from "./interrupt.js";

export async function openModel(source: string, revision?: string): Promise<CausalLM> {
  const { loadModel } = await import("../models/index.js");
  const { onProgress, end } = await downloadReport();
  return loadModel(source, { onProgress, signal: interruptSignal(), ...(revision === undefined ? {} : { revision }) }).finally(
    end,
  );
}
