/** What every engine promises, whatever it computes with. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { symbol } from "../../graph/dim.js";
import { type DType, dtypes, encode } from "../../graph/dtype.js";
import type { HostArray } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import { add, not } from "../../graph/ops/index.js";
import type { Engine } from "../engine.js";
import { modelSource } from "../model-source.js";
import { float32, graphOf, productGraph, runOnce, sumGraph } from "./graphs.js";

const named = <T>(values: Readonly<Record<string, T>>): ReadonlyMap<string, T> => new Map(Object.entries(values));

export interface ContractOptions {
  /** Element types that the engine's buffers cannot have. */
  readonly without?: readonly DType[];
  /** Whether a run that cannot work says which operator it was. Default true. */
  readonly namesOperators?: boolean;
  /** Whether the device computes with float16. Default true. */
  readonly computesFloat16?: boolean;
  /** Whether int64 values keep more than 32 bits in a run. Default true. */
  readonly computesWideIntegers?: boolean;
}

export function describeEngine(
  title: string,
  create: () => Promise<Engine>,
  { without = ["bfloat16"], namesOperators = true, computesFloat16 = true, computesWideIntegers = true }: ContractOptions = {},
): void {
  describe(title, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await create();
    });
    afterAll(() => engine.close());

    const x = float32([2, 3], [1, 2, 3, 4, 5, 6]);
    const y = float32([3], [10, 20, 30]);
    const sum = float32([2, 3], [11, 22, 33, 14, 25, 36]);

    it("allocates zeros, and reads back what was uploaded or written, as copies", async () => {
      const zeros = await engine.allocate("float32", [2, 3]);
      expect(await engine.read(zeros)).toEqual(float32([2, 3], [0, 0, 0, 0, 0, 0]));
      await engine.write(zeros, x);
      const uploaded = await engine.upload(x);
      const first = await engine.read(uploaded);
      expect(first).toEqual(x);
      (first.data as Float32Array)[0] = 99;
      expect(await engine.read(uploaded)).toEqual(x);
      expect(await engine.read(zeros)).toEqual(x);
      await engine.release(zeros);
      await engine.release(uploaded);
    });

    it.each(dtypes.filter((dtype) => !without.includes(dtype)))("keeps the bits of %s", async (dtype) => {
      const array = { dtype, shape: [2, 2], data: encode(dtype, [0, 1, 1, 0]) } as HostArray;
      const buffer = await engine.upload(array);
      expect(await engine.read(buffer)).toEqual(array);
      await engine.release(buffer);
    });

    it.each(without)("refuses buffers of %s", async (dtype) => {
      await expect(engine.allocate(dtype, [2])).rejects.toMatchObject({ code: "DTYPE" });
      await expect(engine.upload({ dtype, shape: [1], data: encode(dtype, [1]) } as HostArray)).rejects.toMatchObject({
        code: "DTYPE",
      });
    });

    it("keeps the data of an uploaded view, not of what lies around it", async () => {
      const around = Float32Array.from([9, 1, 2, 9]);
      const buffer = await engine.upload({ dtype: "float32", shape: [2], data: around.subarray(1, 3) });
      around.fill(7);
      expect(await engine.read(buffer)).toEqual(float32([2], [1, 2]));
      await engine.release(buffer);
    });

    it("runs, and leaves inputs as they were", async () => {
      const model = await engine.load(modelSource(engine, sumGraph()));
      const [a, b] = [await engine.upload(x), await engine.upload(y)];
      const inputs = named({ x: a, y: b });
      for (let i = 0; i < 2; i++) {
        const produced = await model.run(inputs, named({ sum: undefined }));
        const buffer = produced.get("sum");
        if (!buffer) throw new Error("no output");
        expect(buffer).toMatchObject({ dtype: "float32", shape: [2, 3] });
        expect(await engine.read(buffer)).toEqual(sum);
        await engine.release(buffer);
      }
      expect(await engine.read(a)).toEqual(x);
      expect(await engine.read(b)).toEqual(y);
      await model.release();
    });

    it("fills the buffers that it is given, and takes what it made as an input of the next run", async () => {
      const model = await engine.load(modelSource(engine, sumGraph()));
      const [a, b, c] = [await engine.upload(x), await engine.upload(y), await engine.allocate("float32", [2, 3])];
      const first = await model.run(named({ x: a, y: b }), named({ sum: c }));
      expect(first.get("sum")).toBe(c);
      expect(await engine.read(c)).toEqual(sum);
      const second = await model.run(named({ x: c, y: b }), named({ sum: a }));
      expect(second.get("sum")).toBe(a);
      expect(await engine.read(a)).toEqual(float32([2, 3], [21, 42, 63, 24, 45, 66]));
      expect(await engine.read(c)).toEqual(sum);
      await model.release();
    });

    it("runs other sizes with one model, none included", async () => {
      const model = await engine.load(modelSource(engine, sumGraph()));
      const b = await engine.upload(y);
      for (const rows of [1, 4, 0, 2]) {
        const a = await engine.allocate("float32", [rows, 3]);
        const given = await engine.allocate("float32", [rows, 3]);
        for (const wanted of [undefined, given]) {
          const produced = await model.run(named({ x: a, y: b }), named({ sum: wanted }));
          const result = await engine.read(produced.get("sum") as typeof a);
          expect(result.shape).toEqual([rows, 3]);
          expect([...(result.data as Float32Array)]).toEqual(Array.from({ length: rows * 3 }, (_, i) => 10 * ((i % 3) + 1)));
        }
      }
      await model.release();
    });

    it("computes with int64 and bool values from outside", async () => {
      const n = symbol("n");
      const integers = input("integers", "int64", [n]);
      const chosen = input("chosen", "bool", [n]);
      const graph = graphOf({ integers, chosen }, { doubled: add(integers, integers), opposite: not(chosen) });
      const large = -(2n ** (computesWideIntegers ? 40n : 29n));
      const results = await runOnce(engine, graph, {
        integers: { dtype: "int64", shape: [2], data: BigInt64Array.from([3n, large]) },
        chosen: { dtype: "bool", shape: [2], data: Uint8Array.of(0, 1) },
      });
      expect(results.doubled?.data).toEqual(BigInt64Array.from([6n, 2n * large]));
      expect(results.opposite?.data).toEqual(Uint8Array.of(1, 0));
    });

    it.runIf(computesFloat16)("computes with float16 values from outside", async () => {
      const halves = input("halves", "float16", [2]);
      const { more } = await runOnce(engine, graphOf({ halves }, { more: add(halves, 1) }), {
        halves: { dtype: "float16", shape: [2], data: encode("float16", [0.5, -2]) },
      });
      expect(more?.data).toEqual(encode("float16", [1.5, -1]));
    });

    it("gives back only what is asked for", async () => {
      const a = input("a", "float32", [2]);
      const graph = graphOf({ a }, { once: add(a, 1), twice: add(a, 2) });
      const model = await engine.load(modelSource(engine, graph));
      const buffer = await engine.upload(float32([2], [0, 1]));
      const inputs = named({ a: buffer });
      expect([...(await model.run(inputs, named({ twice: undefined }))).keys()]).toEqual(["twice"]);
      expect((await model.run(inputs, new Map())).size).toBe(0);
      await model.release();
    });

    it("knows its own limits: names, shapes and dtypes that do not fit are errors, and it works on afterwards", async () => {
      const model = await engine.load(modelSource(engine, sumGraph()));
      const [a, b] = [await engine.upload(x), await engine.upload(y)];
      const good = named({ x: a, y: b });
      const wanted = named({ sum: undefined });
      const wrongShape = await engine.allocate("float32", [4]);
      const wrongRank = await engine.allocate("float32", []);
      const wrongDType = await engine.allocate("int32", [3]);
      await expect(model.run(named({ x: a }), wanted)).rejects.toMatchObject({ code: "FEED" });
      await expect(model.run(new Map([...good, ["z", a]]), wanted)).rejects.toMatchObject({ code: "FEED" });
      await expect(model.run(good, named({ product: undefined }))).rejects.toMatchObject({ code: "FEED" });
      for (const wrong of [wrongShape, wrongRank, wrongDType])
        await expect(model.run(named({ x: a, y: wrong }), wanted)).rejects.toMatchObject({
          name: expect.any(String),
          code: expect.any(String),
        });
      await expect(model.run(good, named({ sum: wrongShape }))).rejects.toHaveProperty("code");
      await expect(model.run(good, named({ sum: a }))).rejects.toMatchObject({ code: "ARGUMENT" });
      await expect(engine.write(a, y)).rejects.toMatchObject({ code: "SHAPE" });
      await expect(engine.write(wrongDType, y)).rejects.toMatchObject({ code: "DTYPE" });
      await expect(engine.upload({ dtype: "float32", shape: [5], data: new Float32Array(3) })).rejects.toMatchObject({
        code: "SHAPE",
      });
      const produced = await model.run(good, wanted);
      expect(await engine.read(produced.get("sum") as typeof a)).toEqual(sum);
      await model.release();
    });

    it.runIf(namesOperators)("names the operator that failed", async () => {
      const feeds = { p: float32([1, 3], [1, 2, 3]), q: float32([4, 1], [1, 2, 3, 4]) };
      await expect(runOnce(engine, productGraph(), feeds)).rejects.toMatchObject({
        code: "ENGINE",
        message: expect.stringMatching(/'matmul'.*(dimension mismatch|incompatible)/is),
      });
    });

    it("says so when something is used after its release", async () => {
      const model = await engine.load(modelSource(engine, sumGraph()));
      const [a, b] = [await engine.upload(x), await engine.upload(y)];
      await engine.release(a);
      await engine.release(a);
      await expect(engine.read(a)).rejects.toMatchObject({ code: "RELEASED" });
      await expect(engine.write(a, x)).rejects.toMatchObject({ code: "RELEASED" });
      await expect(model.run(named({ x: a, y: b }), named({ sum: undefined }))).rejects.toMatchObject({ code: "RELEASED" });
      await model.release();
      await model.release();
      const fresh = await engine.upload(x);
      await expect(model.run(named({ x: fresh, y: b }), named({ sum: undefined }))).rejects.toMatchObject({ code: "RELEASED" });
    });

    it("does not take the buffers of another engine", async () => {
      const other = await create();
      const foreign = await other.upload(x);
      await expect(engine.read(foreign)).rejects.toMatchObject({ code: "RELEASED" });
      await other.close();
      await expect(other.read(foreign)).rejects.toMatchObject({ code: "RELEASED" });
      await expect(other.upload(x)).rejects.toMatchObject({ code: "RELEASED" });
      await other.close();
    });

    it("runs what is asked for at the same time", async () => {
      const all = await Promise.all(
        [1, 2, 3].map((value) => runOnce(engine, sumGraph(), { x: float32([1, 3], [value, 0, 0]), y })),
      );
      expect(all.map(({ sum: result }) => Array.from(result?.data as Float32Array))).toEqual(
        [11, 12, 13].map((first) => [first, 20, 30]),
      );
    });
  });
}
