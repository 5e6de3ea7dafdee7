/** Memory of programs that come and go, measured in a process of its own. */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { fromSource } from "../../scripts/from-source.mjs";

const MiB = 2 ** 20;

/** Each makes something 200 times; `i` counts. What a kept session holds: 1 MiB of weights, as much packed, its arena. */
const scenarios = {
  "200 variables are updated and forgotten": `
    const own = new Parameter([512, 512], { name: "own" });
    const update = compile(({ by }) => { own.assign(add(own, by)); return {}; }, { by: float32() }, { engine });
    await update({ by: 1 });
    await update.release();`,

  "200 frozen programs are compiled, run and released": `
    const frozen = program(64, { frozen: true });
    await frozen({ x: ones(64) });
    await frozen.release();`,

  "one program is specialized on 200 sizes, of which it keeps two": `
    kept ??= program("rows", { frozen: true, specialize: true, cacheSize: 2 });
    await kept({ x: ones(i + 1) });`,

  "a frozen program follows 200 new values of its weights": `
    kept ??= program(8, { frozen: true });
    weights.write({ dtype: "float32", shape: [512, 512], data: new Float32Array(512 * 512).fill(i) });
    await kept({ x: ones(8) });`,
};

const source = (from: string) => JSON.stringify(new URL(from, import.meta.url));

const script = `
  import { onnxRuntimeNode } from ${source("../engine/onnxruntime/node.ts")};
  import { add, matmul, sum, Parameter } from ${source("../graph/index.ts")};
  import { compile } from ${source("./compile.ts")};
  import { float32 } from ${source("./signature.ts")};

  const engine = await onnxRuntimeNode({ threads: 1 });
  const weights = new Parameter([512, 512], { name: "weights" });
  const ones = (rows) => ({ dtype: "float32", shape: [rows, 512], data: new Float32Array(rows * 512) });
  const program = (rows, options) =>
    compile(({ x }) => ({ y: sum(matmul(matmul(x, weights), weights)) }), { x: float32(rows, 512) }, { engine, ...options });

  async function residentMemory() {
    for (let i = 0; i < 4; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return process.memoryUsage().rss;
  }

  const grown = [];
  for (const scenario of [${Object.values(scenarios).map((body) => `() => { let kept; return async (i) => {${body}\n}; }`)}]) {
    const once = scenario();
    let before = 0;
    for (let i = 0; i < 200; i++) {
      if (i === 20) before = await residentMemory();
      await once(i);
    }
    grown.push((await residentMemory()) - before);
  }
  console.log(JSON.stringify(grown));
`;

describe("memory stays flat while", () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...fromSource, "--expose-gc", "--input-type=module", "--eval", script],
    { encoding: "utf8", cwd: fileURLToPath(new URL("../../", import.meta.url)) },
  );
  const grown = status === 0 ? (JSON.parse(stdout) as number[]) : [];

  it.each(Object.keys(scenarios).map((name, i) => [name, i] as const))("%s", (_, i) => {
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect((grown[i] as number) / MiB).toBeLessThan(100);
  });
});
