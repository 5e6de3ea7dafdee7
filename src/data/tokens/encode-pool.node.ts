/** Encoding on several cores (Node). */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type ErrorCode, TsumikiError } from "../../errors.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";
import { workerOptions } from "../../worker-options.node.js";

/** The tokens of texts one after the other, and how many each has. */
export interface EncodedTexts {
  readonly ids: Int32Array;
  readonly lengths: Int32Array;
}

/** What a worker is started with. */
export interface EncodeWorkerData {
  readonly tokenizer: unknown;
}

export interface EncodeRequest {
  readonly id: number;
  readonly texts: readonly string[];
}

/** What a worker says first. */
export const started = "started";

export type EncodeReply =
  | typeof started
  | ({ readonly id: number } & EncodedTexts)
  | { readonly id: number; readonly error: { readonly code: ErrorCode | undefined; readonly message: string } };

/** On this thread. */
export function encodeTexts(tokenizer: Pick<Tokenizer, "encode">, texts: readonly string[]): EncodedTexts {
  const encoded = texts.map((text) => tokenizer.encode(text));
  const lengths = Int32Array.from(encoded, ({ length }) => length);
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const one of encoded) {
    ids.set(one, at);
    at += one.length;
  }
  return { ids, lengths };
}

export interface EncodePool extends AsyncDisposable {
  readonly size: number;
  /** Whether the workers have started; until then, the thread that waits for them may as well encode itself. */
  ready(): boolean;
  /** Resolves when they have. */
  readonly started: Promise<void>;
  /** @throws TsumikiError as `tokenizer.encode` does */
  encode(texts: readonly string[]): Promise<EncodedTexts>;
}

export const defaultWorkers = (): number => Math.min(availableParallelism(), 16);

/** Workers with a copy of the tokenizer each; they end with the pool. */
export function encodePool(tokenizer: Tokenizer, size: number): EncodePool {
  const workerData: EncodeWorkerData = { tokenizer: tokenizer.toJSON() };
  const waiting = new Map<number, { resolve(encoded: EncodedTexts): void; reject(error: Error): void; worker: number }>();
  const busy = new Array<number>(size).fill(0); // requests that each worker has
  let nextId = 0;
  let closed = false;
  let running = 0;
  let [start, failStart]: [() => void, (error: Error) => void] = [() => {}, () => {}];
  const allStarted = new Promise<void>((resolve, reject) => {
    [start, failStart] = [resolve, reject];
  });
  allStarted.catch(() => {}); // shows where somebody waits for it, else when texts are sent
  const fail = (error: Error) => {
    failStart(error);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  const workers = Array.from({ length: size }, (_, index) => {
    const worker = new Worker(new URL("./encode-worker.node.js", import.meta.url), { workerData, ...workerOptions() });
    worker.on("message", (reply: EncodeReply) => {
      if (reply === started) {
        if (++running === size) start();
        return;
      }
      const request = waiting.get(reply.id);
      waiting.delete(reply.id);
      busy[index] = (busy[index] as number) - 1;
      if ("error" in reply) request?.reject(revive(reply.error));
      else request?.resolve(reply);
    });
    worker.on("error", fail);
    worker.on("exit", (code) => {
      if (!closed) fail(new Error(`A worker that encodes texts ended with exit code ${code}.`));
    });
    return worker;
  });
  return {
    size,
    ready: () => running === size,
    started: allStarted,
    encode: (texts) =>
      new Promise((resolve, reject) => {
        const worker = busy.indexOf(Math.min(...busy));
        const id = nextId++;
        busy[worker] = (busy[worker] as number) + 1;
        waiting.set(id, { resolve, reject, worker });
        workers[worker]?.postMessage({ id, texts } satisfies EncodeRequest);
      }),
    async [Symbol.asyncDispose]() {
      closed = true;
      await Promise.all(workers.map((worker) => worker.terminate()));
      fail(new TsumikiError("RELEASED", "The workers that encode texts were closed."));
    },
  };
}

const revive = ({ code, message }: { readonly code: ErrorCode | undefined; readonly message: string }): Error =>
  code === undefined ? new Error(message) : new TsumikiError(code, message);
