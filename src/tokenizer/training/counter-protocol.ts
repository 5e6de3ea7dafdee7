/** What a thread that counts words is told, and what it answers. */

import type { CountingStages, WordCounts } from "./word-counter.js";

export type CounterRequest =
  | { readonly begin: { readonly stages: CountingStages; readonly maxWords: number } }
  | { readonly add: string }
  | { readonly finish: true };

export type CounterReply = { readonly added: true } | { readonly counts: WordCounts } | { readonly error: string };

/** A thread that counts. */
export interface CounterHandle {
  /** Resolves when the block is counted. */
  add(block: string): Promise<void>;
  finish(): Promise<WordCounts>;
  stop(): void;
}

/** What every platform's worker offers. */
export interface CounterPort {
  post(request: CounterRequest): void;
  onReply(listener: (reply: CounterReply) => void): void;
  onFailure(listener: (error: Error) => void): void;
  stop(): void;
}

/** Asks and answers in order: each request but the first has one reply. */
export function counterHandle(port: CounterPort, stages: CountingStages, maxWords: number): CounterHandle {
  const waiting: { resolve: (reply: CounterReply) => void; reject: (error: Error) => void }[] = [];
  let failure: Error | undefined;
  port.onReply((reply) => {
    if ("error" in reply) waiting.shift()?.reject(new Error(reply.error));
    else waiting.shift()?.resolve(reply);
  });
  port.onFailure((error) => {
    failure = error;
    for (const { reject } of waiting.splice(0)) reject(error);
  });
  const ask = (request: CounterRequest) =>
    new Promise<CounterReply>((resolve, reject) => {
      if (failure) reject(failure);
      else {
        waiting.push({ resolve, reject });
        port.post(request);
      }
    });
  port.post({ begin: { stages, maxWords } });
  return {
    add: async (block) => void (await ask({ add: block })),
    async finish() {
      const reply = await ask({ finish: true });
      if ("counts" in reply) return reply.counts;
      throw new Error("a thread that counts words answered something else");
    },
    stop: () => port.stop(),
  };
}
