/** A worker of a page that counts words. */

import { type CounterHandle, counterHandle } from "./counter-protocol.js";
import type { CountingStages } from "./word-counter.js";

export const defaultThreads = globalThis.navigator?.hardwareConcurrency ?? 1;

export function startCounter(stages: CountingStages, maxWords: number): CounterHandle {
  // Bundlers look for this form.
  const worker = new Worker(new URL("./counter-entry.js", import.meta.url), { type: "module" });
  return counterHandle(
    {
      post: (request) => worker.postMessage(request),
      onReply: (listener) => worker.addEventListener("message", ({ data }) => listener(data)),
      onFailure: (listener) =>
        worker.addEventListener("error", ({ message }) => listener(new Error(message || "its script could not be loaded"))),
      stop: () => worker.terminate(),
    },
    stages,
    maxWords,
  );
}
