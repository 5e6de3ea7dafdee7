/** Weights that stay in memory as a file has them. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { fromSource } from "../../scripts/from-source.mjs";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { onnxRuntimeWeb } from "../engine/onnxruntime/web.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { decode, encode } from "../graph/dtype.js";
import { add, gather, hostArray, matmul, mul, Parameter, scan, sum, type Tensor } from "../graph/index.js";
import { Module } from "../nn/module.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "./compile.js";
import { float32, int32 } from "./signature.js";

const folder = mkdtempSync(join(tmpdir(), "tsumiki-narrow-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A parameter whose value lies in a file of its own, from the third byte on. */
function inFile(name: string, dtype: "bfloat16" | "float16", shape: readonly [number, number]): Parameter {
  const path = join(folder, `${name}-${dtype}`);
  const length = shape[0] * shape[1];
  const bits = encode(
    dtype,
    Float64Array.from({ length }, (_, i) => Math.sin(i + name.length) / 2),
  ) as Uint16Array<ArrayBuffer>;
  writeFileSync(path, Buffer.concat([Buffer.alloc(3), Buffer.from(bits.buffer)]));
  const parameter = new Parameter(shape, { name });
  parameter.moveTo({
    read: async () => hostArray("float32", shape, Float32Array.from(decode(dtype, bits))),
    file: { path, byteOffset: 3, byteLength: 2 * length, dtype },
  });
  parameter.trainable = false;
  return parameter;
}

/** An embedding that is the last layer too, a map between them that is trained beside what is frozen, and a loop that reads a weight. */
class Net extends Module {
  readonly table: Parameter;
  readonly map: Parameter;
  readonly beside = new Parameter([4, 4]);

  constructor(dtype: "bfloat16" | "float16") {
    super();
    this.table = inFile("table", dtype, [10, 4]);
    this.map = inFile("map", dtype, [4, 4]);
  }

  logits(ids: Tensor): Tensor {
    const mapped = matmul(gather(this.table, ids), add(this.map, this.beside));
    const { carry } = scan(([h], [x]) => ({ carry: [add(mul(h, 0.5), matmul(x, this.map))] }), {
      carry: [mul(mapped.slice(0, 0, 1), 0)],
      sequences: [mapped.reshape([mapped.size(0), 1, 4])],
    });
    return matmul(add(mapped, carry[0]), this.table, { transposeB: true });
  }
}

const engines = [
  ["onnxruntime", await onnxRuntimeNode({ threads: 1 })],
  ["onnxruntime-web on WebAssembly", await onnxRuntimeWeb({ threads: 1 })],
  ["reference", referenceEngine()],
] as const;

describe.each(engines)("narrow weights on %s", (_, engine) => {
  it.each(["bfloat16", "float16"] as const)(
    "of %s give the same numbers as wide ones, and gradients flow through them",
    async (dtype) => {
      const results: number[][] = [];
      for (const narrow of [false, true]) {
        const net = new Net(dtype);
        const optimizer = new AdamW(net);
        const options = { engine, frozen: true, narrow };
        await using step = compile(
          ({ ids }) => {
            const loss = sum(net.logits(ids));
            optimizer.update(loss, { learningRate: 0.1 });
            return { loss };
          },
          { ids: int32("seq") },
          options,
        );
        await using whole = compile(({ ids }) => ({ logits: net.logits(ids) }), { ids: int32("seq") }, options);
        await using alone = compile(({ x }) => ({ y: matmul(x, net.map), map: net.map }), { x: float32("rows", 4) }, options);
        const seen: number[] = [];
        for (let i = 0; i < 3; i++) seen.push((await step({ ids: [1, 5, 9] })).loss.item());
        seen.push(...(await whole({ ids: [2, 3] })).logits.toNumbers());
        const { y, map } = await alone({
          x: [
            [Number.NaN, 1, 1, 1],
            [1, 2, 3, 4],
          ],
        });
        seen.push(...y.toNumbers(), ...map.toNumbers());
        results.push(seen);
      }
      const [wide, narrow] = results as [number[], number[]];
      for (const [i, value] of narrow.entries()) {
        const expected = wide[i] as number;
        if (Number.isNaN(expected)) expect(value).toBeNaN();
        else expect(Math.abs(value - expected)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(expected)));
      }
    },
  );
});

describe.runIf(process.platform === "linux")("a program over 64 MB of bfloat16", () => {
  it("holds them as the file has them, once", () => {
    const source = (from: string) => JSON.stringify(new URL(from, import.meta.url));
    const script = `
      import { readFileSync, writeFileSync } from "node:fs";
      import { onnxRuntimeNode } from ${source("../engine/onnxruntime/node.ts")};
      import { add, gather, matmul, Parameter } from ${source("../graph/index.ts")};
      import { compile } from ${source("./compile.ts")};
      import { int32 } from ${source("./signature.ts")};
      const path = ${JSON.stringify(join(folder, "large"))};
      writeFileSync(path, Uint8Array.from({ length: 2 ** 26 }, (_, i) => (i & 1 ? 60 : (i * 7) & 255)));
      const engine = await onnxRuntimeNode({ threads: 1 });
      const tables = Array.from({ length: 8 }, (_, i) => {
        const table = new Parameter([8192, 512], { name: "table" + i });
        const read = () => Promise.reject(new Error("read"));
        table.moveTo({ read, file: { path, byteOffset: i * 2 ** 23, byteLength: 2 ** 23, dtype: "bfloat16" } });
        return table;
      });
      const resident = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
      const grown = [];
      for (const narrow of [true, false]) {
        const before = resident();
        const program = compile(({ ids }) => ({ y: tables.map((table) => matmul(gather(table, ids), table, { transposeB: true })).reduce(add) }), { ids: int32("n") },
          { engine, frozen: true, narrow });
        for (let i = 0; i < 3; i++) await program({ ids: [1, 2] });
        grown.push(resident() - before);
        await program.release();
      }
      console.log(JSON.stringify(grown));
    `;
    const { status, stdout, stderr } = spawnSync(process.execPath, [...fromSource, "--input-type=module", "--eval", script], {
      encoding: "utf8",
      cwd: fileURLToPath(new URL("../../", import.meta.url)),
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const [narrow, wide] = JSON.parse(stdout) as [number, number];
    // The file is mapped: of the process's own memory, a table or two that are wide at a time [MiB].
    expect(narrow).toBeLessThan(60);
    expect(wide).toBeGreaterThan(100);
  });
});
