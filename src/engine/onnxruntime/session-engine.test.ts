/** What the engine does with sessions and tensors, over a runtime that counts them. */

import type { InferenceSession } from "onnxruntime-node";
import * as ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { noLowering } from "../engine.js";
import { modelSource } from "../model-source.js";
import { sumGraph } from "../testing/graphs.js";
import { type Runtime, sessionEngine } from "./session-engine.js";

/** Sessions that take a while to be made, and how many of them there are. */
async function countedSessions() {
  const counts = { made: 0, alive: 0 };
  const create = async (): Promise<Partial<InferenceSession>> => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    counts.made++;
    counts.alive++;
    return {
      inputNames: [],
      outputNames: [],
      async release() {
        counts.alive--;
      },
    };
  };
  const engine = await sessionEngine({
    ...{ name: "counting", device: "cpu", version: "0", threads: 1, lowering: noLowering },
    runtime: async () => ({ InferenceSession: { create }, Tensor: ort.Tensor }) as unknown as Runtime,
    sessionSource: async () => ({ model: new Uint8Array(), options: {} }),
  });
  return { engine, counts };
}

describe("closing while models are being loaded", () => {
  it("frees the one that is under way, and makes no other", async () => {
    const { engine, counts } = await countedSessions();
    const source = modelSource(engine, sumGraph());
    const loads = [engine.load(source), engine.load(source), engine.load(source)];
    const outcomes = Promise.allSettled(loads);
    await new Promise((resolve) => setTimeout(resolve, 5)); // the first is half made
    await engine.close();
    expect(counts).toEqual({ made: 1, alive: 0 });
    expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    await (await (loads[0] as (typeof loads)[0])).release();
    expect(counts.alive).toBe(0);
  });
});
