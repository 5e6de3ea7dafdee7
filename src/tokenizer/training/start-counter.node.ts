/** A thread of Node that counts words. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { workerOptions } from "../../worker-options.node.js";
import { type CounterHandle, counterHandle } from "./counter-protocol.js";
import type { CountingStages } from "./word-counter.js";

export const defaultThreads = availableParallelism();

export function startCounter(stages: CountingStages, maxWords: number): CounterHandle {
  const worker = new Worker(new URL("./counter-entry.js", import.meta.url), workerOptions());
  return counterHandle(
    {
      post: (request) => worker.postMessage(request),
      onReply: (listener) => void worker.on("message", listener),
      onFailure(listener) {
        worker.on("error", listener);
        worker.on("messageerror", listener);
      },
      stop: () => void worker.terminate(),
    },
    stages,
    maxWords,
  );
}
