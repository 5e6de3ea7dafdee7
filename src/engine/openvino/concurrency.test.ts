/** Several engines at once, and what ends while they compute: each end in a process of its own. */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { fromSource } from "../../../scripts/from-source.mjs";
import { input } from "../../graph/leaves.js";
import { matmul } from "../../graph/ops/index.js";
import type { Engine } from "../engine.js";
import { float32, graphOf, runOnce } from "../testing/graphs.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { inWorker } from "../worker/engine.js";
import { openVino } from "./engine.js";
import { findOpenVino } from "./library.node.js";

const absent = await whyNoOpenVino();

/** x multiplied by a matrix of 1 / size some times is x where all its elements are equal. */
async function computesRight(engine: Engine, value: number): Promise<boolean> {
  const size = 192;
  const [x, w] = [input("x", "float32", [size, size]), input("w", "float32", [size, size])];
  let y = x;
  for (let i = 0; i < 8; i++) y = matmul(y, w);
  const matrix = (fill: number) => float32([size, size], new Float32Array(size * size).fill(fill));
  const found = await runOnce(engine, graphOf({ x, w }, { y }), { x: matrix(value), w: matrix(1 / size) });
  return Array.from(found.y?.data ?? [], Number).every((each) => Math.abs(each / value - 1) < 1e-4);
}

describe.skipIf(absent)(absent ?? "several engines of OpenVINO at once", () => {
  it.each<[string, () => Promise<Engine>]>([
    ["in one thread, over one core", () => openVino({ threads: 2 })],
    ["in workers of their own", () => inWorker({ engine: "openvino", threads: 2 })],
  ])("compute right, %s", async (_, create) => {
    const { core } = await findOpenVino();
    const engines = await Promise.all([create(), create()]);
    expect((await findOpenVino()).core).toBe(core);
    const runs = engines.flatMap((engine, i) => [1, 2, 3, 4].map((j) => computesRight(engine, 10 * i + j)));
    expect(await Promise.all(runs)).toEqual(new Array(8).fill(true));
    await engines[0]?.close();
    expect(await computesRight(engines[1] as Engine, 5)).toBe(true);
    await engines[1]?.close();
  });
});

const module = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));

/** A process that does something while a product of seconds is computed; how it ends, and what it says. */
function whileItRuns(doing: string): Promise<{ readonly ended: number | string | undefined; readonly output: string }> {
  const program = `
    import { Worker } from "node:worker_threads";
    const { createEngine } = await import(${module("../registry.ts")});
    const { float32, graphOf } = await import(${module("../testing/graphs.ts")});
    const { modelSource } = await import(${module("../model-source.ts")});
    const { input } = await import(${module("../../graph/leaves.ts")});
    const { matmul } = await import(${module("../../graph/ops/index.ts")});
    const begin = async (options) => {
      const engine = await createEngine({ engine: "openvino", threads: 1, ...options });
      const x = input("x", "float32", [1024, 1024]);
      let y = x;
      for (let i = 0; i < 40; i++) y = matmul(y, x, { scale: 1 / 1024 });
      const model = await engine.load(modelSource(engine, graphOf({ x }, { y })));
      const inputs = new Map([["x", await engine.upload(float32([1024, 1024], new Float32Array(2 ** 20).fill(1)))]]);
      const result = model.run(inputs, new Map([["y", undefined]])).then(async ([[, y]]) => (await engine.read(y)).data[5]);
      return { engine, model, result };
    };
    ${doing}`;
  return new Promise((resolve) => {
    execFile(process.execPath, [...fromSource, "--input-type=module", "--eval", program], (error, output, errors) => {
      resolve({ ended: error ? (error.signal ?? error.code ?? undefined) : 0, output: output + (error?.signal ? errors : "") });
    });
  });
}

describe.skipIf(absent)(absent ?? "while OpenVINO computes", () => {
  it.each<[string, string, number, string]>([
    ["the process exits", `await begin(); setTimeout(() => process.exit(7), 100);`, 7, ""],
    ["nobody waits, and the process ends by itself", `await begin(); console.log("end");`, 0, "end\\n"],
    ["an error that nobody catches ends the process", `await begin(); setTimeout(() => { throw new Error("no"); }, 100);`, 1, ""],
    [
      "a timer ticks",
      `const { result } = await begin();
      let ticks = 0;
      setInterval(() => ticks++, 1).unref();
      console.log(await result, ticks > 10);`,
      0,
      "1 true\\n",
    ],
    [
      "its model and its engine are released, which wait",
      `const { engine, model, result } = await begin();
      await Promise.all([model.release(), engine.close()]);
      console.log(await result.catch(({ code }) => code));`,
      0,
      "RELEASED\\n",
    ],
    [
      "its worker is ended, and goes on in this thread",
      `const { engine, result } = await begin({ worker: true });
      result.catch(({ code }) => console.log(code));
      await new Promise((resolve) => setTimeout(resolve, 100));
      await engine.close();
      const { result: other } = await begin();
      console.log(await other);`,
      0,
      "RELEASED\\n1\\n",
    ],
  ])("%s", async (_, doing, ended, output) => {
    expect(await whileItRuns(doing)).toEqual({ ended, output: output.replaceAll("\\n", "\n") });
  });
});
