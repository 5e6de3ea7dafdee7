/** A thread of Node that counts words. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type CounterHandle, counterHandle } from "./counter-protocol.js";
import type { CountingStages } from "./word-counter.js";

export const defaultThreads = availableParallelism();

/** Node's options for the worker: those of this process, but not the one that says what a program given as text is. */
const execArgv = process.execArgv.filter((option, i, all) => !/^--input-type/.test(option) && all[i - 1] !== "--input-type");

export function startCounter(stages: CountingStages, maxWords: number): CounterHandle {
  const worker = new Worker(new URL("./counter-entry.js", import.meta.url), { execArgv });
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
