import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { input } from "../../graph/leaves.js";
import { add } from "../../graph/ops/index.js";
import { modelSource } from "../model-source.js";
import { describeEngine } from "../testing/engine-contract.js";
import { float32, graphOf } from "../testing/graphs.js";
import { inWorker } from "../worker/engine.js";
import { onnxRuntimeWeb } from "./web.js";

describeEngine("onnxruntime-web on WebAssembly, in Node", () => onnxRuntimeWeb({ threads: 1 }));

describeEngine("onnxruntime-web on WebAssembly, in a worker of Node", () => inWorker({ device: "wasm", threads: 2 }));

describe("onnxruntime-web", () => {
  it("reads weights from files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tsumiki-weights-"));
    const engine = await onnxRuntimeWeb();
    try {
      const path = join(folder, "weights.bin");
      writeFileSync(path, Buffer.concat([Buffer.alloc(4), Buffer.from(Float32Array.from([1, 2, 3]).buffer)]));
      const w = input("w", "float32", [3]);
      const x = input("x", "float32", [3]);
      const frozen = new Map([["w", { location: "weights-0", offset: 4, length: 12 }]]);
      const source = modelSource(engine, graphOf({ x, w }, { y: add(x, w) }), {
        frozen,
        externalFiles: [{ location: "weights-0", path }],
      });
      const model = await engine.load(source);
      const produced = await model.run(new Map([["x", await engine.allocate("float32", [3])]]), new Map([["y", undefined]]));
      const [buffer] = produced.values();
      expect(await engine.read(buffer as NonNullable<typeof buffer>)).toEqual(float32([3], [1, 2, 3]));
    } finally {
      await engine.close();
      rmSync(folder, { recursive: true });
    }
  });

  it("says where WebGPU is in Node", async () => {
    await expect(onnxRuntimeWeb({ device: "webgpu" })).rejects.toMatchObject({
      code: "ENGINE_ABSENT",
      message: expect.stringContaining("onnxruntime-node"),
    });
  });

  it("tells the threads that it really has: they cannot be changed once it runs", async () => {
    const first = await onnxRuntimeWeb();
    const second = await onnxRuntimeWeb({ threads: first.threads + 1 });
    expect(second.threads).toBe(first.threads);
  });
});
