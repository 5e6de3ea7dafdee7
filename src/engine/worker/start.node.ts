/** A worker of Node. */

import { Worker } from "node:worker_threads";
import { workerOptions } from "../../worker-options.node.js";
import type { WorkerHandle } from "./engine.js";

export function startWorker(): WorkerHandle {
  const worker = new Worker(new URL("./worker-entry.js", import.meta.url), workerOptions());
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    onReply: (listener) => void worker.on("message", listener),
    onFailure(listener) {
      worker.on("error", listener);
      worker.on("messageerror", listener);
      worker.on("exit", (code) => listener(new Error(`the worker ended with exit code ${code}`)));
    },
    // Idle, it does not keep the process from ending.
    setBusy: (busy) => (busy ? worker.ref() : worker.unref()),
    terminate: async () => void (await worker.terminate()),
  };
}
