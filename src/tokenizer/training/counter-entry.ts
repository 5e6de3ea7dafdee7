/** Inside the thread that counts words. */

import { onRequest } from "#platform/tokenizer/training/inside-counter";
import type { CounterReply, CounterRequest } from "./counter-protocol.js";
import { WordCounter } from "./word-counter.js";

let counter: WordCounter | undefined;

onRequest((request: CounterRequest): CounterReply | undefined => {
  try {
    if ("begin" in request) {
      counter = new WordCounter(request.begin.stages, request.begin.maxWords);
      return undefined;
    }
    if (!counter) throw new Error("the thread was not told what to count");
    if ("finish" in request) return { counts: counter.raw() };
    counter.add(request.add);
    return { added: true };
  } catch (error) {
    return { error: (error as Error).message };
  }
});
