/** A model that a command works with, its download shown where it comes from the hub. */

import type { DownloadOptions } from "../hub/download.node.js";
import type { AnyModel, CausalLM } from "../models/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { downloadReport } from "./download-progress.js";
import { interruptSignal } from "./interrupt.js";

/** @param source see `openTrainedModel` */
export async function openModel(source: string, revision?: string): Promise<AnyModel> {
  const { openTrainedModel } = await import("../runs/trained-model.node.js");
  return whileShown(revision, async (download) => (await openTrainedModel(source, download)).model);
}

export async function openWithTokenizer(
  source: string,
  revision?: string,
): Promise<{ readonly model: CausalLM; readonly tokenizer: Tokenizer }> {
  const { openTrainedModel } = await import("../runs/trained-model.node.js");
  return whileShown(revision, async (download) => {
    const { model, openTokenizer } = await openTrainedModel(source, { ...download, kind: "causal-lm" });
    return { model, tokenizer: await openTokenizer() };
  });
}

async function whileShown<T>(revision: string | undefined, open: (download: DownloadOptions) => Promise<T>): Promise<T> {
  const { onProgress, end } = await downloadReport();
  return open({ onProgress, signal: interruptSignal(), ...(revision === undefined ? {} : { revision }) }).finally(end);
}
