/** What runs in each worker of an `encodePool`. */

import { parentPort, workerData } from "node:worker_threads";
import { TsumikiError } from "../../errors.js";
import { tokenizerFromJson } from "../../tokenizer/tokenizer.js";
import { type EncodeReply, type EncodeRequest, type EncodeWorkerData, encodeTexts, started } from "./encode-pool.node.js";

const tokenizer = tokenizerFromJson((workerData as EncodeWorkerData).tokenizer);

parentPort?.on("message", ({ id, texts }: EncodeRequest) => {
  try {
    const { ids, lengths } = encodeTexts(tokenizer, texts);
    parentPort?.postMessage({ id, ids, lengths } satisfies EncodeReply, [
      ids.buffer as ArrayBuffer,
      lengths.buffer as ArrayBuffer,
    ]);
  } catch (error) {
    const code = error instanceof TsumikiError ? error.code : undefined;
    parentPort?.postMessage({ id, error: { code, message: (error as Error).message } } satisfies EncodeReply);
  }
});

parentPort?.postMessage(started satisfies EncodeReply);
