/**
 * The browser's Worker over Node's worker threads, as far as jax-js needs it: without it jax-js has one thread in Node.
 * Only blob URLs, only messages.
 */

import { resolveObjectURL } from "node:buffer";
import { Worker as NodeWorker } from "node:worker_threads";

const PREAMBLE = `
const { parentPort } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (message) => parentPort.postMessage(message);
parentPort.on("message", (data) => self.onmessage({ data }));
`;

class BlobWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((error: Error) => void) | null = null;
  private worker: NodeWorker | undefined;
  private readonly waiting: unknown[] = [];

  constructor(url: string) {
    void this.start(url);
  }

  private async start(url: string): Promise<void> {
    const source = await resolveObjectURL(url)?.text();
    if (source === undefined) throw new Error(`${url} is not a blob of this process`);
    this.worker = new NodeWorker(PREAMBLE + source, { eval: true });
    this.worker.on("message", (data: unknown) => this.onmessage?.({ data }));
    this.worker.on("error", (error: Error) => this.onerror?.(error));
    for (const message of this.waiting) this.worker.postMessage(message);
  }

  postMessage(message: unknown): void {
    if (this.worker) this.worker.postMessage(message);
    else this.waiting.push(message);
  }

  terminate(): void {
    void this.worker?.terminate();
  }
}

/** Gives this process a global Worker, and a navigator that offers `threads` of them. */
export function installWebWorker(threads: number): void {
  Object.assign(globalThis, { Worker: BlobWorker });
  Object.defineProperty(globalThis, "navigator", { value: { hardwareConcurrency: threads }, configurable: true });
}
