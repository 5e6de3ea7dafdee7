/** A worker's connection to whoever started it, in Node. */

import { parentPort } from "node:worker_threads";
import type { Reply, Request } from "./protocol.js";

export const postReply = (reply: Reply, transfer: ArrayBuffer[]): void => parentPort?.postMessage(reply, transfer);

export const onRequest = (listener: (request: Request) => void): void => void parentPort?.on("message", listener);
