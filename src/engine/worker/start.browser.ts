/** A worker of a page. */

import type { WorkerHandle } from "./engine.js";

export function startWorker(): WorkerHandle {
  // Bundlers look for this form.
  const worker = new Worker(new URL("./worker-entry.js", import.meta.url), { type: "module" });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    onReply: (listener) => worker.addEventListener("message", ({ data }) => listener(data)),
    onFailure(listener) {
      worker.addEventListener("error", ({ message }) => listener(new Error(message || "its script could not be loaded")));
      worker.addEventListener("messageerror", () => listener(new Error("a message could not be read")));
    },
    setBusy: () => {},
    terminate: async () => worker.terminate(),
  };
}
