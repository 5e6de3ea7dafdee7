import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { fromSource } from "../../../scripts/from-source.mjs";
import { TsumikiError } from "../../errors.js";
import { symbol } from "../../graph/dim.js";
import { input } from "../../graph/leaves.js";
import { exp, matmul, sum } from "../../graph/ops/index.js";
import { namedRandom } from "../../graph/random.js";
import { onnxRuntimeNode } from "../onnxruntime/node.js";
import { createEngine } from "../registry.js";
import { describeEngine } from "../testing/engine-contract.js";
import { float32, graphOf, runOnce, sumGraph } from "../testing/graphs.js";
import { inWorker } from "./engine.js";
import { fromPlainError, toPlainError } from "./protocol.js";

describeEngine("onnxruntime-node in a worker", () => inWorker({ engine: "onnxruntime-node", threads: 1 }));

describe("in a worker", () => {
  it("computes the same bits as in this thread", async () => {
    const random = namedRandom(7, "worker");
    const [rows, inner] = [33, 65];
    const a = input("a", "float32", [symbol("rows"), inner]);
    const b = input("b", "float32", [inner, 17]);
    const product = matmul(a, b);
    const graph = graphOf({ a, b }, { product, total: sum(exp(product)) });
    const draw = (shape: readonly number[]) =>
      float32(
        shape,
        Array.from({ length: shape.reduce((x, y) => x * y) }, () => random.normal() / 8),
      );
    const feeds = { a: draw([rows, inner]), b: draw([inner, 17]) };
    const here = await onnxRuntimeNode({ threads: 2 });
    const there = await inWorker({ engine: "onnxruntime", threads: 2 });
    expect(await runOnce(there, graph, feeds)).toEqual(await runOnce(here, graph, feeds));
    await Promise.all([here.close(), there.close()]);
  });

  it("leaves this thread free while it runs", async () => {
    const engine = await createEngine({ worker: true, threads: 1 });
    const a = input("a", "float32", [1024, 1024]);
    let product = a;
    for (let i = 0; i < 8; i++) product = matmul(product, a);
    let turns = 0;
    let running = true;
    const run = runOnce(engine, graphOf({ a }, { product }), { a: float32([1024, 1024], new Float32Array(1024 * 1024)) });
    const turning = (async () => {
      while (running) {
        turns++;
        await new Promise(setImmediate);
      }
    })();
    await run;
    running = false;
    await turning;
    expect(turns).toBeGreaterThan(10);
    await engine.close();
  });

  it("is the engine that is described, with its lowering", async () => {
    const here = await onnxRuntimeNode({ threads: 1 });
    const there = await inWorker({ engine: "onnxruntime", threads: 1 });
    for (const key of ["name", "device", "version", "threads", "lowering"] as const) expect(there[key]).toBe(here[key]);
    await Promise.all([here.close(), there.close()]);
  });

  it("fails as it would here when the engine is absent or does not exist", async () => {
    await expect(inWorker({ engine: "nonsense" })).rejects.toMatchObject({ name: "ArgumentError", code: "ARGUMENT" });
    await expect(inWorker({ engine: "reference" })).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  it("rejects what is under way when it is closed", async () => {
    const engine = await inWorker({ threads: 1 });
    const pending = runOnce(engine, sumGraph(), { x: float32([1, 3], [1, 2, 3]), y: float32([3], [1, 2, 3]) });
    const outcome = pending.then(
      () => "done",
      (error: TsumikiError) => error.code,
    );
    await engine.close();
    expect(await outcome).toBe("RELEASED");
    await expect(engine.allocate("float32", [1])).rejects.toMatchObject({ code: "RELEASED" });
  });
});

describe("the process of a worker", () => {
  /** Runs a program given as text, from source, and resolves to what it printed. */
  const run = (program: string) =>
    promisify(execFile)(process.execPath, [...fromSource, "--input-type=module", "--eval", program], {
      cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    });

  it("ends when its work is done, although an idle engine was never closed", async () => {
    const { stdout } = await run(`
      import { inWorker } from "tsumiki/engine";
      const engine = await inWorker({ engine: "onnxruntime", threads: 1 });
      await engine.allocate("float32", [3]);
      console.log(engine.name);
    `);
    expect(stdout).toBe("onnxruntime-node\n");
  });

  it("does not end while an answer is awaited", async () => {
    const { stdout } = await run(`
      import { inWorker } from "tsumiki/engine";
      const engine = await inWorker({ threads: 1 });
      void engine.allocate("float32", [3]).then(({ shape }) => console.log(shape));
    `);
    expect(stdout).toBe("[ 3 ]\n");
  });
});

describe("errors on their way", () => {
  it("keep class, code, message and cause", () => {
    const original = new TsumikiError("ENGINE", "outer", { cause: new RangeError("inner") });
    const rebuilt = fromPlainError(structuredClone(toPlainError(original)));
    expect(rebuilt).toBeInstanceOf(TsumikiError);
    expect(rebuilt).toMatchObject({ code: "ENGINE", message: "outer", cause: { message: "inner" } });
    expect(fromPlainError(toPlainError("text"))).toMatchObject({ message: "text" });
  });
});
