/** A program that is compiled and released leaves nothing behind, however often. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { input } from "../../graph/leaves.js";
import { add, matmul } from "../../graph/ops/index.js";
import type { Engine } from "../engine.js";
import { modelSource } from "../model-source.js";
import { graphOf } from "../testing/graphs.js";
import { inWorker } from "../worker/engine.js";
import { onnxRuntimeNode } from "./node.js";

/** Resident bytes that belong to this process alone. */
function residentBytes(): number {
  const [, kilobytes] = /RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

const size = 256;
const matrixBytes = size * size * 4;

/** Loads a model with two weights of its own, runs it, releases everything. */
async function liveOnce(engine: Engine): Promise<void> {
  const x = input("x", "float32", [size, size]);
  const weights = [0, 1].map((i) => input(`w${i}`, "float32", [size, size]));
  const [a, b] = weights as [typeof x, typeof x];
  const frozen = new Map(
    ["w0", "w1"].map((name) => [
      name,
      { dtype: "float32", shape: [size, size], data: new Float32Array(size * size).fill(1) } as const,
    ]),
  );
  const model = await engine.load(
    modelSource(engine, graphOf({ x, w0: a, w1: b }, { y: add(matmul(matmul(x, a), b), 1) }), { frozen }),
  );
  const from = await engine.allocate("float32", [size, size]);
  const into = await engine.allocate("float32", [size, size]);
  await model.run(new Map([["x", from]]), new Map([["y", into]]));
  await engine.read(into);
  await model.release();
  await engine.release(from);
  await engine.release(into);
}

describe.runIf(process.platform === "linux")("200 models loaded and released", () => {
  it.each([
    ["in this thread", () => onnxRuntimeNode({ threads: 2 })],
    ["in a worker", () => inWorker({ threads: 2 })],
  ] as const)("leave memory flat, %s", async (_, create) => {
    const engine = await create();
    for (let i = 0; i < 20; i++) await liveOnce(engine);
    const before = residentBytes();
    for (let i = 0; i < 200; i++) await liveOnce(engine);
    // 200 models that stay would keep their weights (packed a second time) and buffers: 200 · 6 matrices, 300 MB.
    expect((residentBytes() - before) / matrixBytes).toBeLessThan(200);
    await engine.close();
  });
});
