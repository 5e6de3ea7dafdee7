import { describe, expect, expectTypeOf, it } from "vitest";
import type { Engine, EngineBuffer } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { slowEngine } from "../engine/testing/slow-engine.js";
import { inWorker } from "../engine/worker/engine.js";
import { add, hostArray, mul, nonZero, type ResultArray, sum, Variable } from "../graph/index.js";
import { compile } from "./compile.js";
import type { DeviceValue } from "./device-value.js";
import { bool, float32 } from "./signature.js";

const cpu = await onnxRuntimeNode({ threads: 1 });
const ones = (rows: number) => hostArray("float32", [rows, 2], new Float32Array(rows * 2).fill(1));

/** The same engine, with what it has made and not freed, and what was copied into and out of it [elements]. */
function counted(target: Engine) {
  const alive = new Set<EngineBuffer>();
  const counts = { uploaded: 0, read: 0, alive };
  const made = async (buffer: Promise<EngineBuffer>) => {
    alive.add(await buffer);
    return buffer;
  };
  const own: Partial<Engine> = {
    allocate: (...given) => made(target.allocate(...given)),
    upload: (array) => {
      counts.uploaded += array.data.length;
      return made(target.upload(array));
    },
    write: (buffer, array) => {
      counts.uploaded += array.data.length;
      return target.write(buffer, array);
    },
    read: (buffer) => {
      counts.read += buffer.shape.reduce((a, b) => a * b, 1);
      return target.read(buffer);
    },
    async release(buffer) {
      alive.delete(buffer);
      await target.release(buffer);
    },
  };
  const engine = new Proxy(target, {
    get(_, key) {
      const value = (own as Record<string | symbol, unknown>)[key] ?? (Reflect.get(target, key, target) as unknown);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { engine, counts };
}

describe.each([
  ["reference", async () => referenceEngine()],
  ["onnxruntime", () => onnxRuntimeNode({ threads: 1 })],
  ["onnxruntime in a worker", () => inWorker({ engine: "onnxruntime", threads: 1 })],
] as const)("kept results on %s", (_, create) => {
  it("go from program to program without a copy, and stay as they are", async () => {
    const { engine, counts } = counted(await create());
    const first = compile(({ x }) => ({ hidden: mul(x, 3), total: sum(x) }), { x: float32("rows", 2) }, { engine });
    const second = compile(({ hidden }) => ({ y: add(hidden, 1), n: sum(hidden) }), { hidden: float32("rows", 2) }, { engine });
    const { hidden, total } = await first({ x: ones(50) }, { keep: ["hidden"] });
    expectTypeOf(hidden).toEqualTypeOf<DeviceValue>();
    expectTypeOf(total).toEqualTypeOf<ResultArray>();
    expect([hidden.dtype, hidden.shape, total.item()]).toEqual(["float32", [50, 2], 100]);
    const before = { ...counts };
    expect((await second({ hidden }, { keep: ["y"] })).n.item()).toBe(300);
    expect([counts.uploaded - before.uploaded, counts.read - before.read]).toEqual([0, 1]);
    // Later runs have buffers of their own.
    const other = await first({ x: hostArray("float32", [50, 2], new Float32Array(100).fill(5)) }, { keep: ["hidden"] });
    expect((await hidden.read()).data[0]).toBe(3);
    expect((await other.hidden.read()).data[0]).toBe(15);
    await engine.close();
  });
});

describe("kept results", () => {
  it("are freed when they are disposed of, after the calls that need them", async () => {
    const slow = slowEngine(referenceEngine(), "run");
    const { engine, counts } = counted(slow.engine);
    slow.letGo();
    await using program = compile(({ x }) => ({ y: mul(x, 2) }), { x: float32(3, 2) }, { engine });
    const { y } = await program({ x: ones(3) }, { keep: ["y"] });
    const { y: z } = await program({ x: y }, { keep: ["y"] });
    const call = program({ x: y });
    await y.dispose();
    expect([...(await call).y.toNumbers()]).toEqual(Array(6).fill(4));
    await expect(program({ x: y })).rejects.toMatchObject({ code: "RELEASED", message: expect.stringMatching(/'x'/) });
    await expect(y.read()).rejects.toMatchObject({ code: "RELEASED" });
    await y.dispose();
    const held = counts.alive.size;
    for (let i = 0; i < 3; i++) await (await program({ x: z }, { keep: ["y"] })).y.dispose();
    expect(counts.alive.size).toBe(held);
    await z.dispose();
    expect(counts.alive.size).toBe(held - 1);
  });

  it("leave nothing behind when a run, or the caller over its results, fails", async () => {
    const target = referenceEngine();
    const { engine, counts } = counted(target);
    await using program = compile(({ x }) => ({ y: mul(x, 2) }), { x: float32(3, 2) }, { engine, specialize: true });
    await program({ x: ones(3) });
    const held = counts.alive.size;
    const fail = () => {
      throw new RangeError("no such step");
    };
    await expect(program({ x: ones(3) }, { keep: ["y"], commit: fail })).rejects.toThrow(RangeError);
    expect(counts.alive.size).toBe(held);
  });

  it("are copied to another engine, and can be read where a program is taken apart", async () => {
    await using first = compile(({ x }) => ({ y: mul(x, 2) }), { x: float32("rows", 2) }, { engine: cpu });
    await using second = compile(({ y }) => ({ z: add(y, 1) }), { y: float32("rows", 2) }, { engine: referenceEngine() });
    const { y } = await first({ x: ones(2) }, { keep: ["y"] });
    expect([...(await second({ y })).z.toNumbers()]).toEqual([3, 3, 3, 3]);
    expect((await second.capture({ y })).inputs.get("feed:y")?.data).toEqual(Float32Array.of(2, 2, 2, 2));
    expect(await second.firstNotFinite({ y })).toBeUndefined();
  });

  it("have sizes that are found out, shapes and dtypes that are checked, and see the state before the run", async () => {
    const count = new Variable([2], { name: "count" });
    await using program = compile(
      ({ flags }) => {
        count.assign(add(count, 1));
        return { found: nonZero(flags), count };
      },
      { flags: bool("n") },
      { engine: cpu },
    );
    const flags = hostArray("bool", [4], Uint8Array.of(0, 1, 0, 1));
    const { found, count: before } = await program({ flags }, { keep: ["found", "count"] });
    await program({ flags });
    expect(found.shape).toContain(2);
    expect([...(await before.read()).toNumbers()]).toEqual([0, 0]);
    await using other = compile(({ x }) => ({ x }), { x: float32(3) }, { engine: cpu });
    await expect(other({ x: before })).rejects.toMatchObject({ code: "FEED" });
    await expect(program({ flags: before })).rejects.toMatchObject({ code: "DTYPE" });
  });
});
