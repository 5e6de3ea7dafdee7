import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { symbol } from "../../graph/dim.js";
import { input } from "../../graph/leaves.js";
import { add, cast, matmul } from "../../graph/ops/index.js";
import { withScope } from "../../graph/trace.js";
import { modelSource } from "../model-source.js";
import { describeEngine } from "../testing/engine-contract.js";
import { float32, graphOf, runOnce, sumGraph } from "../testing/graphs.js";
import { onnxRuntimeNode } from "./node.js";

describeEngine("onnxruntime-node on the CPU", () => onnxRuntimeNode({ threads: 2 }));

describe("outputs in place", () => {
  it("leaves no copy of an output that went into a given buffer", async () => {
    const engine = await onnxRuntimeNode();
    const size = 1_000_000;
    const x = input("x", "float32", [size]);
    const model = await engine.load(modelSource(engine, graphOf({ x }, { y: add(x, 1) })));
    const [from, into] = [await engine.allocate("float32", [size]), await engine.allocate("float32", [size])];
    const run = () => model.run(new Map([["x", from]]), new Map([["y", into]]));
    await run();
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 5; i++) await run();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * size);
    expect((await engine.read(into)).data.every((value) => value === 1)).toBe(true);
    await engine.close();
  });

  it("reports an error of the run all the same", async () => {
    const engine = await onnxRuntimeNode();
    const [rows, inner] = [symbol("rows"), symbol("inner")];
    const p = input("p", "float32", [rows, inner]);
    const q = input("q", "float32", [inner, rows]);
    const graph = graphOf({ p, q }, { y: withScope("layers.3.mlp", () => matmul(p, q)) });
    const feeds = { p: float32([1, 3], [1, 2, 3]), q: float32([4, 1], [1, 2, 3, 4]) };
    await expect(runOnce(engine, graph, feeds, { y: float32([1, 1], [0]) })).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringMatching(
        /^onnxruntime-node failed while it ran at 'matmul' in layers\.3\.mlp: .*dimension mismatch/s,
      ),
    });
    await engine.close();
  });
});

describe("weights in files", () => {
  it("are read where they lie: other folders, unaligned offsets", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tsumiki-weights-"));
    const engine = await onnxRuntimeNode();
    try {
      const values = [
        [1, 2, 3],
        [40, 50, 60],
      ];
      const files = values.map((row, i) => {
        const path = join(folder, `part ${i}.bin`);
        writeFileSync(
          path,
          Buffer.concat([Buffer.alloc(2 * i + 1), Buffer.from(Float32Array.from(row).buffer), Buffer.alloc(5)]),
        );
        return { location: `weights-${i}`, path };
      });
      const x = input("x", "float32", [symbol("rows"), 3]);
      const weights = values.map((_, i) => input(`w${i}`, "float32", [3]));
      const [first, second] = weights as [(typeof weights)[0], (typeof weights)[0]];
      const graph = graphOf({ x, w0: first, w1: second }, { y: add(add(x, first), second) });
      const frozen = new Map(files.map(({ location }, i) => [`w${i}`, { location, offset: 2 * i + 1, length: 12 }]));
      const model = await engine.load(modelSource(engine, graph, { frozen, externalFiles: files }));
      const produced = await model.run(new Map([["x", await engine.allocate("float32", [2, 3])]]), new Map([["y", undefined]]));
      const [buffer] = produced.values();
      expect(await engine.read(buffer as NonNullable<typeof buffer>)).toEqual(float32([2, 3], [41, 52, 63, 41, 52, 63]));
    } finally {
      await engine.close();
      rmSync(folder, { recursive: true });
    }
  });

  it("that are missing are an error that names the file", async () => {
    const engine = await onnxRuntimeNode();
    const w = input("w", "float32", [3]);
    const source = modelSource(engine, graphOf({ w }, { y: add(w, 1) }), {
      frozen: new Map([["w", { location: "weights-0", offset: 0, length: 12 }]]),
      externalFiles: [{ location: "weights-0", path: join(tmpdir(), "no-such-weights.bin") }],
    });
    await expect(engine.load(source)).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringContaining("no-such-weights.bin"),
    });
    await engine.close();
  });
});

describe("what it cannot do", () => {
  it("says how bfloat16 may be used: inside, not across", async () => {
    const engine = await onnxRuntimeNode();
    const x = input("x", "float32", [3]);
    const { y } = await runOnce(engine, graphOf({ x }, { y: cast(cast(x, "bfloat16"), "float32") }), {
      x: float32([3], [1.001, 2, -3.02]),
    });
    expect(y).toEqual(float32([3], [1, 2, -3.015625]));
    await expect(
      runOnce(engine, graphOf({ x }, { y: cast(x, "bfloat16") }), { x: float32([3], [1, 2, 3]) }),
    ).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringMatching(/bfloat16.*cast/),
    });
    await engine.close();
  });

  it("refuses what is no model", async () => {
    const engine = await onnxRuntimeNode();
    const source = { ...modelSource(engine, sumGraph()), onnx: () => Uint8Array.of(1, 2, 3) };
    await expect(engine.load(source)).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringContaining("refused the model"),
    });
    await engine.close();
  });

  it.each(["cuda", "coreml", "directml"] as const)("says what to do where %s is absent", async (device) => {
    const made = onnxRuntimeNode({ device });
    await made.then(
      (engine) => engine.close(), // it is here
      (error) => expect(error).toMatchObject({ code: "ENGINE_ABSENT", message: expect.stringMatching(/CUDA|macOS|Windows/) }),
    );
  });

  it.each([0, -1, 1.5, Number.NaN])("refuses %s threads", async (threads) => {
    await expect(onnxRuntimeNode({ threads })).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  it("refuses a device that it does not have", async () => {
    await expect(onnxRuntimeNode({ device: "wasm" as "cpu" })).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});
