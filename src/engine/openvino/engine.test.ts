import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { symbol } from "../../graph/dim.js";
import { input } from "../../graph/leaves.js";
import { add, cast, matmul, nonZero } from "../../graph/ops/index.js";
import type { Tensor } from "../../graph/tensor.js";
import { withScope } from "../../graph/trace.js";
import type { Engine, EngineBuffer } from "../engine.js";
import { modelSource } from "../model-source.js";
import { tellBufferStory } from "../testing/buffer-story.js";
import { describeEngine } from "../testing/engine-contract.js";
import { float32, graphOf, runOnce, sumGraph } from "../testing/graphs.js";
import { whyNoBfloat16, whyNoOpenVino } from "../testing/openvino.js";
import { inWorker } from "../worker/engine.js";
import { openVino } from "./engine.js";
import { readWithFiles, takeExternalFiles } from "./external-files.node.js";

const absent = await whyNoOpenVino();
const noBfloat16 = await whyNoBfloat16();

if (absent) describe.skip(`OpenVINO, ${absent}`, () => it("keeps the contract of engines", () => {}));
else {
  describeEngine("OpenVINO", () => openVino({ threads: 2 }), { without: [], computesWideIntegers: false });
  describeEngine("OpenVINO in a worker", () => inWorker({ engine: "openvino", threads: 2 }), {
    without: [],
    computesWideIntegers: false,
  });
}

describe.skipIf(absent)("OpenVINO's runs", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openVino({ threads: 2 });
  });
  afterAll(() => engine?.close());

  it("leave this thread to others", async () => {
    const x = input("x", "float32", [1024, 1024]);
    let y = x;
    for (let i = 0; i < 20; i++) y = matmul(y, x, { scale: 1 / 1024 });
    const model = await engine.load(modelSource(engine, graphOf({ x }, { y })));
    const inputs = new Map([["x", await engine.allocate("float32", [1024, 1024])]]);
    let over = false;
    let ticks = 0;
    const run = model.run(inputs, new Map([["y", undefined]])).then(() => {
      over = true;
    });
    while (!over) {
      await new Promise((resolve) => setImmediate(resolve));
      ticks++;
    }
    await run;
    expect(ticks).toBeGreaterThan(10); // a run that blocks lets none or two pass
    await model.release();
  });

  it("find their buffers where they are now, when many change places and some are made anew", async () => {
    const names = Array.from({ length: 12 }, (_, i) => `x${i}`);
    const shape = [2, 3];
    const inputs = Object.fromEntries(names.map((name) => [name, input(name, "float32", shape)]));
    const outputs = Object.fromEntries(names.map((name, i) => [`y${i}`, add(inputs[name] as Tensor, i + 1)]));
    const model = await engine.load(modelSource(engine, graphOf(inputs, outputs)));
    let current = await Promise.all(names.map(() => engine.upload(float32(shape, new Float32Array(6)))));
    let spare = await Promise.all(names.map(() => engine.allocate("float32", shape)));
    for (let step = 1; step <= 9; step++) {
      const at = step % names.length;
      // One spare buffer is another one each time, now and then one is left to the engine.
      await engine.release(spare[at] as EngineBuffer);
      spare[at] = await engine.allocate("float32", shape);
      const given = (i: number) => (step % 4 === 0 && i === 5 ? undefined : spare[i]);
      const results = await model.run(
        new Map(names.map((name, i) => [name, current[i] as EngineBuffer])),
        new Map(names.map((_, i) => [`y${i}`, given(i)])),
      );
      const next = names.map((_, i) => results.get(`y${i}`) as EngineBuffer);
      for (const [i, buffer] of next.entries())
        expect([...(await engine.read(buffer)).data]).toEqual(new Array(6).fill(step * (i + 1)));
      [current, spare] = [next, current];
    }
    await model.release();
  });

  it("keep their buffers, whatever is released or collected meanwhile", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const size = 512;
    const x = input("x", "float32", [size, size]);
    let y = x;
    for (let i = 0; i < 40; i++) y = matmul(y, x, { scale: 1 / size });
    const model = await engine.load(modelSource(engine, graphOf({ x }, { y })));
    const begin = async () => {
      const ones = await engine.upload(float32([size, size], new Float32Array(size * size).fill(1)));
      const run = model.run(new Map([["x", ones]]), new Map([["y", undefined]]));
      await engine.release(ones);
      return { run };
    };
    const { run } = await begin();
    await new Promise((resolve) => setImmediate(resolve)); // it is under way
    collectGarbage();
    const garbage = Array.from({ length: 50 }, () => new Float32Array(size * size).fill(7));
    const [result] = (await run).values();
    const { data } = await engine.read(result as NonNullable<typeof result>);
    expect(new Set(data as Float32Array)).toEqual(new Set([1]));
    expect(garbage).toHaveLength(50);
    await model.release();
  });

  it("tell the sizes of results that only they know", async () => {
    const x = input("x", "float32", [symbol("n")]);
    const graph = graphOf({ x }, { places: nonZero(x) });
    const model = await engine.load(modelSource(engine, graph));
    for (const values of [[0, 3, 0, 4], [1], [], [0, 0], [5, 6, 7, 8, 9, 0, 1]]) {
      const buffer = await engine.upload(float32([values.length], values));
      const [places] = (await model.run(new Map([["x", buffer]]), new Map([["places", undefined]]))).values();
      const expected = values.flatMap((value, i) => (value === 0 ? [] : [i]));
      const found = await engine.read(places as NonNullable<typeof places>);
      expect([found.shape, Array.from(found.data as BigInt64Array, Number)]).toEqual([[1, expected.length], expected]);
    }
    await model.release();
  });

  it("leave alone a buffer that was given for an output of an earlier run", async () => {
    const model = await engine.load(modelSource(engine, sumGraph()));
    const [x, y] = [await engine.upload(float32([1, 3], [1, 2, 3])), await engine.upload(float32([3], [1, 1, 1]))];
    const inputs = new Map([
      ["x", x],
      ["y", y],
    ]);
    const given = await engine.allocate("float32", [1, 3]);
    await model.run(inputs, new Map([["sum", given]]));
    await engine.write(x, float32([1, 3], [7, 7, 7]));
    const [other] = (await model.run(inputs, new Map([["sum", undefined]]))).values();
    expect(await engine.read(given)).toEqual(float32([1, 3], [2, 3, 4]));
    expect(await engine.read(other as NonNullable<typeof other>)).toEqual(float32([1, 3], [8, 8, 8]));
    await model.release();
  });

  it("compute in float32 unless a cast says otherwise", async () => {
    const x = input("x", "float32", [1, 2]);
    const w = input("w", "float32", [2, 1]);
    const product = (dtype: "float32" | "bfloat16") => cast(matmul(cast(x, dtype), cast(w, dtype)), "float32");
    const graph = graphOf({ x, w }, { exact: product("float32"), rounded: product("bfloat16") });
    const { exact, rounded } = await runOnce(engine, graph, { x: float32([1, 2], [1.001, 1]), w: float32([2, 1], [1, 1]) });
    expect(exact?.data[0]).toBeCloseTo(2.001, 6);
    // Processors without the instructions do not round.
    expect(rounded?.data[0]).toBe(noBfloat16 === undefined ? 2 : exact?.data[0]);
  });

  it("take weights out of files: below the working directory and elsewhere, at any offset", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "tsumiki-weights-"));
    const below = mkdtempSync(join(process.cwd(), ".tsumiki-weights-"));
    try {
      const files = [elsewhere, below].map((folder, i) => {
        const path = join(folder, `part ${i}.bin`);
        const bytes = Buffer.from(Float32Array.from([1, 2, 3].map((value) => value * 10 ** i)).buffer);
        writeFileSync(path, Buffer.concat([Buffer.alloc(2 * i + 1), bytes, Buffer.alloc(5)]));
        return { location: `weights-${i}`, path };
      });
      const x = input("x", "float32", [symbol("rows"), 3]);
      const [w0, w1] = [input("w0", "float32", [3]), input("w1", "float32", [3])];
      const frozen = new Map(files.map(({ location }, i) => [`w${i}`, { location, offset: 2 * i + 1, length: 12 }]));
      const source = modelSource(engine, graphOf({ x, w0, w1 }, { y: add(add(x, w0), w1) }), { frozen, externalFiles: files });
      const taken = Buffer.from(takeExternalFiles(source.onnx(), files));
      expect(taken.includes(relative(process.cwd(), files[1]?.path as string))).toBe(true);
      expect(taken.includes("part 0.bin")).toBe(false);
      const model = await engine.load(source);
      const inputs = new Map([["x", await engine.allocate("float32", [2, 3])]]);
      const [y] = (await model.run(inputs, new Map([["y", undefined]]))).values();
      expect(await engine.read(y as NonNullable<typeof y>)).toEqual(float32([2, 3], [11, 22, 33, 11, 22, 33]));
      await model.release();
      for (const { path } of files) rmSync(path);
      await expect(engine.load(source)).rejects.toMatchObject({ code: "ENGINE", message: expect.stringContaining("part ") });
    } finally {
      for (const folder of [elsewhere, below]) rmSync(folder, { recursive: true });
    }
  });

  it("take weights out of files elsewhere without reading them, through links too, and leave nothing there", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tsumiki-weights-"));
    try {
      writeFileSync(join(folder, "blob"), Buffer.from(Uint16Array.from([0x3f80, 0x4000, 0x4040]).buffer)); // 1, 2, 3 in bfloat16
      symlinkSync(join(folder, "blob"), join(folder, "weights.safetensors"));
      const files = [{ location: "weights-0", path: join(folder, "weights.safetensors") }];
      const [x, w] = [input("x", "float32", [3]), input("w", "float32", [3])];
      const frozen = new Map([["w", { location: "weights-0", offset: 0, length: 6, dtype: "bfloat16" as const }]]);
      const source = modelSource(engine, graphOf({ x, w }, { y: add(x, w) }), { frozen, externalFiles: files });
      const readers = { fromMemory: async () => "memory", fromFile: async (path: string) => dirname(path) };
      expect(await readWithFiles(source.onnx(), files, readers)).toBe(realpathSync(folder));
      const model = await engine.load(source);
      const inputs = new Map([["x", await engine.upload(float32([3], [10, 20, 30]))]]);
      const [y] = (await model.run(inputs, new Map([["y", undefined]]))).values();
      expect(await engine.read(y as NonNullable<typeof y>)).toEqual(float32([3], [11, 22, 33]));
      await model.release();
      expect(readdirSync(folder).sort()).toEqual(["blob", "weights.safetensors"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("name the operator of a model that is refused", async () => {
    const [rows, columns] = [symbol("rows"), symbol("columns")];
    const x = input("x", "float32", [rows, columns]);
    const y = withScope("layers.3.mlp", () => matmul(x, x, { transposeB: true }));
    const source = modelSource(engine, graphOf({ x }, { y }));
    const broken = Buffer.from(source.onnx()).toString("latin1").replaceAll("MatMul", "NatMul");
    await expect(engine.load({ ...source, onnx: () => Buffer.from(broken, "latin1") })).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringMatching(/openvino refused the model.*NatMul/s),
    });
    await expect(engine.load({ ...source, onnx: () => Uint8Array.of(1, 2, 3) })).rejects.toMatchObject({
      code: "ENGINE",
      message: expect.stringContaining("no ONNX model"),
    });
  });
});

describe.skipIf(absent)("OpenVINO's engines", () => {
  it("swap buffers in a worker as in this thread", async () => {
    const story = await tellBufferStory({ engine: "openvino" });
    expect(story.sameHandles).toBe(true);
    expect(await tellBufferStory({ engine: "openvino", worker: true })).toEqual(story);
    const { values } = await tellBufferStory({ engine: "reference" });
    expect(story.values).toEqual(values);
  });

  it.each([0, -1, 1.5, Number.NaN])("refuse %s threads", async (threads) => {
    await expect(openVino({ threads })).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});

describe.skipIf(absent || process.platform !== "linux")("200 models loaded and released", () => {
  it("leave memory flat", async () => {
    const engine = await openVino({ threads: 2 });
    const size = 256;
    const matrixBytes = 4 * size * size;
    const liveOnce = async (): Promise<void> => {
      const [x, w] = [input("x", "float32", [size, size]), input("w", "float32", [size, size])];
      const weights = { dtype: "float32", shape: [size, size], data: new Float32Array(size * size).fill(1) } as const;
      const source = modelSource(engine, graphOf({ x, w }, { y: add(matmul(x, w), 1) }), { frozen: new Map([["w", weights]]) });
      const model = await engine.load(source);
      const [from, into] = [await engine.allocate("float32", [size, size]), await engine.allocate("float32", [size, size])];
      await model.run(new Map([["x", from]]), new Map([["y", into]]));
      await model.release();
      await engine.release(from);
      await engine.release(into);
    };
    const residentBytes = (): number => Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
    for (let i = 0; i < 40; i++) await liveOnce();
    const before = residentBytes();
    for (let i = 0; i < 200; i++) await liveOnce();
    // Models that stay would keep their weights (packed a second time) and buffers: 200 · 4 matrices.
    expect((residentBytes() - before) / matrixBytes).toBeLessThan(200);
    await engine.close();
  });
});
