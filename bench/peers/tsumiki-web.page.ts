/** What the page of `tsumiki-web.ts` computes: training steps or matrix products, on an engine in a worker. */

import { createEngine, type Device } from "../../src/engine/index.js";
import type { Peer, PeerConfig, Ready, RunReply } from "../protocol.js";
import { productsPeer, stepPeer } from "./tsumiki-step.js";

let peer: Peer;

export async function prepare({ task, mode, threads, workload, matmulShapes }: PeerConfig): Promise<Ready> {
  if (workload.architecture !== "llama") throw new Error("In a page the Llama-style step alone is measured.");
  const engine = await createEngine({ device: mode as Device, threads, worker: true });
  const versions = { [engine.name]: engine.version };
  peer =
    task === "matmul" ? await productsPeer(engine, workload, matmulShapes, versions) : await stepPeer(engine, workload, versions);
  return peer.ready;
}

export const run = (count: number): Promise<Omit<RunReply, "peakMemoryBytes">> => peer.run(count);
