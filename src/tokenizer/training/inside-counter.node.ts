import { parentPort } from "node:worker_threads";
import type { CounterReply, CounterRequest } from "./counter-protocol.js";

export function onRequest(answer: (request: CounterRequest) => CounterReply | undefined): void {
  parentPort?.on("message", (request: CounterRequest) => {
    const reply = answer(request);
    if (reply) parentPort?.postMessage(reply);
  });
}
