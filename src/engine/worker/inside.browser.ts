/** A worker's connection to whoever started it, in a page. */

import type { Reply, Request } from "./protocol.js";

/** The part of a worker's global scope that is used here. */
interface WorkerScope {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: "message", listener: (event: { readonly data: Request }) => void): void;
}

const scope = globalThis as unknown as WorkerScope;

export const postReply = (reply: Reply, transfer: ArrayBuffer[]): void => scope.postMessage(reply, transfer);

export const onRequest = (listener: (request: Request) => void): void =>
  scope.addEventListener("message", ({ data }) => listener(data));
