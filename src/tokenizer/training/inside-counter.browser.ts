import type { CounterReply, CounterRequest } from "./counter-protocol.js";

export function onRequest(answer: (request: CounterRequest) => CounterReply | undefined): void {
  addEventListener("message", ({ data }: MessageEvent<CounterRequest>) => {
    const reply = answer(data);
    if (reply) postMessage(reply);
  });
}
