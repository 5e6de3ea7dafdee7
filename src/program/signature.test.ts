import fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { add, cast, concat, type HostArray, hostArray, type ResultArray, range, sum } from "../graph/index.js";
import { compile } from "./compile.js";
import type { DeviceValue } from "./device-value.js";
import { bool, type Feeds, float16, float32, float64, int32, int64, uint8 } from "./signature.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const float = (shape: readonly number[], values?: readonly number[]): HostArray<"float32"> =>
  hostArray("float32", shape, Float32Array.from(values ?? Array(shape.reduce((a, b) => a * b, 1)).fill(1)));

/** Whatever a caller without a type checker may pass. */
const untyped = (value: unknown): never => value as never;

describe("numbers that do not fit", () => {
  it("are refused by name: fractions, what is out of range, what is not finite", async () => {
    await using program = compile(({ n, row }) => ({ n, row }), { n: int32(), row: uint8(2) }, { engine });
    const feeds = { n: 1, row: [1, 2] };
    for (const wrong of [{ n: 0.5 }, { n: 2 ** 31 }, { n: Number.NaN }, { row: [1, 256] }, { row: [-1, 0] }])
      await expect(program({ ...feeds, ...wrong })).rejects.toMatchObject({
        code: "DTYPE",
        message: expect.stringMatching(new RegExp(`The input '${Object.keys(wrong)[0]}' .*cannot be stored as`)),
      });
  });
});

describe("feeds", () => {
  const program = compile(
    ({ x, y, rate }) => ({ z: x.add(y).mul(rate) }),
    {
      x: float32("rows", "columns"),
      y: float32("columns"),
      rate: float32(),
    },
    { engine },
  );

  it("are arrays, nested lists, or numbers for scalars; results are typed by name", async () => {
    const { z } = await program({
      x: [
        [1, 2],
        [3, 4],
      ],
      y: float([2], [10, 20]),
      rate: 0.5,
    });
    expect(z).toMatchObject({ dtype: "float32", shape: [2, 2], data: Float32Array.of(5.5, 11, 6.5, 12) });
    expectTypeOf(z).toEqualTypeOf<ResultArray>();
    type Given = Feeds<{ x: ReturnType<typeof float32<["rows"]>>; rate: ReturnType<typeof float32<[]>> }>;
    expectTypeOf<Given["rate"]>().toEqualTypeOf<HostArray<"float32"> | DeviceValue | number>();
    expectTypeOf<HostArray<"int32">>().not.toExtend<Given["x"]>();
    expectTypeOf<number>().not.toExtend<Given["x"]>();
    // @ts-expect-error: `w` is no result
    expect(program.length >= 0 && (await program({ x: [[1]], y: [1], rate: 1 })).w).toBeUndefined();
  });

  it("come back as `item()` and `toNumbers()`; `item()` of several elements is an error", async () => {
    const { z } = await program({ x: [[1, 2]], y: [0, 0], rate: 3 });
    expect([...z.toNumbers()]).toEqual([3, 6]);
    expect(() => z.item()).toThrow(expect.objectContaining({ code: "SHAPE" }));
    expect((await program({ x: [[2]], y: [0], rate: 3 })).z.item()).toBe(6);
  });

  it.each([
    [
      "one that the program does not have",
      { x: [[1]], y: [1], rate: 1, z: 1 },
      "FEED",
      /no input called z\. Its inputs: x, y, rate/,
    ],
    ["a name that every object has", { x: [[1]], y: [1], rate: 1, toString: 1 }, "FEED", /no input called toString/],
    ["a missing one", { x: [[1]], rate: 1 }, "FEED", /'y' \(float32\[columns\]\) was not fed/],
    ["null", { x: [[1]], y: null, rate: 1 }, "FEED", /'y' \(float32\[columns\]\) was not fed/],
    [
      "another dtype",
      { x: [[1]], y: hostArray("int32", [1], Int32Array.of(1)), rate: 1 },
      "DTYPE",
      /'y' is float32\[columns\], but int32\[1\] was fed/,
    ],
    [
      "an array that does not hold its dtype",
      { x: [[1]], y: { dtype: "float32", shape: [1], data: Float64Array.of(1) }, rate: 1 },
      "DTYPE",
      /'y'.*Float32Array.*Float64Array/,
    ],
    [
      "fewer elements than the shape says",
      { x: [[1]], y: { dtype: "float32", shape: [2], data: Float32Array.of(1) }, rate: 1 },
      "FEED",
      /'y' says shape \[2\], but holds 1/,
    ],
    ["another rank", { x: [1], y: [1], rate: 1 }, "FEED", /'x' has shape \[rows, columns\], but \[1\] was fed/],
    ["a number for an array", { x: 1, y: [1], rate: 1 }, "FEED", /'x' has shape \[rows, columns\], but \[\] was fed/],
    ["an array for a number", { x: [[1]], y: [1], rate: [1] }, "FEED", /'rate' has shape \[\], but \[1\] was fed/],
    [
      "one symbol with two sizes",
      { x: [[1, 2]], y: [1, 2, 3], rate: 1 },
      "FEED",
      /'y' has shape \[columns\], but \[3\] was fed: axis 0 should be 2 \(columns = 2, from 'x'\)/,
    ],
    ["rows of different lengths", { x: [[1, 2], [3]], y: [1, 2], rate: 1 }, "FEED", /'x'.*equally long/s],
    ["rows of different depths", { x: [[1, [2]]], y: [1, 2], rate: 1 }, "FEED", /'x'.*equally deep/s],
    [
      "a typed array without a shape",
      { x: [[1]], y: Float32Array.of(1), rate: 1 },
      "FEED",
      /'y'.*float32\[columns\].*Float32Array/s,
    ],
    ["a string", { x: [[1]], y: "1", rate: 1 }, "FEED", /'y'.*string/s],
    ["a truth value", { x: [[1]], y: [1], rate: true }, "FEED", /'rate'.*boolean/s],
  ])("refuses %s", async (_, feeds, code, message) => {
    const error = await program(untyped(feeds)).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(program.count).toBeGreaterThan(0); // and goes on as before:
    expect((await program({ x: [[1]], y: [1], rate: 1 })).z.item()).toBe(2);
  });

  it("may be of every dtype that the engine takes", async () => {
    await using each = compile(
      (inputs) => ({ ...inputs }),
      {
        float16: float16(2),
        float32: float32(2),
        float64: float64(2),
        int32: int32(2),
        int64: int64(2),
        uint8: uint8(2),
        bool: bool(2),
      },
      { engine },
    );
    const results = await each({
      float16: [1, 0],
      float32: [1, 0],
      float64: [1, 0],
      int32: [1, 0],
      int64: [1, 0],
      uint8: [1, 0],
      bool: [1, 0],
    });
    for (const dtype of ["float16", "float32", "float64", "int32", "int64", "uint8", "bool"] as const) {
      expect(results[dtype].dtype).toBe(dtype);
      expect([...results[dtype].toNumbers()]).toEqual([1, 0]);
    }
  });

  it("may be left unused by the function, and be used twice", async () => {
    await using unused = compile(({ x }) => ({ x, again: x, twice: add(x, x) }), { x: float32("n"), y: float32() }, { engine });
    const { x, again, twice } = await unused({ x: [1, 2], y: 7 });
    expect([x, again, twice].map((array) => [...array.toNumbers()])).toEqual([
      [1, 2],
      [1, 2],
      [2, 4],
    ]);
  });
});

describe("sizes", () => {
  it("are numbers, names and sums of them: one program serves all that fit", async () => {
    await using program = compile(
      ({ past, now, all }) => ({ joined: concat([past, now], 0).add(all), length: sum(cast(range(all.size(0)), "float32")) }),
      { past: float32("past", 2), now: float32("seq", 2), all: float32("past + seq", 2) },
      { engine },
    );
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 5 }), fc.nat({ max: 5 }), async (past, seq) => {
        const { joined, length } = await program({ past: float([past, 2]), now: float([seq, 2]), all: float([past + seq, 2]) });
        expect(joined.shape).toEqual([past + seq, 2]);
        expect([...joined.toNumbers()]).toEqual(Array(2 * (past + seq)).fill(2));
        expect(length.item()).toBe(((past + seq) * Math.max(past + seq - 1, 0)) / 2);
      }),
      { numRuns: 12 },
    );
    await expect(program({ past: float([1, 2]), now: float([2, 2]), all: float([4, 2]) })).rejects.toMatchObject({
      code: "FEED",
      message: expect.stringMatching(/'all' has shape \[past \+ seq, 2\], but \[4, 2\] was fed: axis 0 should be 3/),
    });
    await expect(program({ past: float([1, 3]), now: float([2, 2]), all: float([3, 2]) })).rejects.toMatchObject({
      code: "FEED",
      message: expect.stringMatching(/axis 1 should be 2/),
    });
  });

  it("must be told by an input of their own, not by a sum alone", async () => {
    await using program = compile(({ x }) => ({ y: sum(x) }), { x: float32("past + seq") }, { engine });
    await expect(program({ x: [1, 2] })).rejects.toMatchObject({
      code: "FEED",
      message: expect.stringMatching(/no input.*carries/),
    });
  });

  it.each([
    ["2 · seq", ["2*seq"]],
    ["an empty name", [""]],
    ["a negative number", [-1]],
    ["a fraction", [1.5]],
  ])("refuses %s", (_, sizes) => {
    expect(() => compile(({ x }) => ({ x }), { x: float32(...(sizes as [string])) }, { engine })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });
});
