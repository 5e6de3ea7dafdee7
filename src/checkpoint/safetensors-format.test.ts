import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocate, bytesPerElement, type DType, dtypes, encode } from "../graph/dtype.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { decodeSafetensors, encodeSafetensors, planSafetensors } from "./safetensors-format.js";

const golden = new Uint8Array(readFileSync(new URL("./golden/mixed.safetensors", import.meta.url)));

/** What golden/make_safetensors.py writes. */
const goldenTensors = new Map<string, HostArray>([
  ["u64", { dtype: "uint64", shape: [2], data: BigUint64Array.of(0n, 2n ** 64n - 1n) }],
  ["i64", { dtype: "int64", shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) }],
  ["f64", { dtype: "float64", shape: [1, 2], data: Float64Array.of(0.1, -1e300) }],
  ["f32", { dtype: "float32", shape: [2, 3], data: Float32Array.of(0, 1, -2.5, 1e-38, 3e38, 0.1) }],
  ["u32", { dtype: "uint32", shape: [1], data: Uint32Array.of(2 ** 32 - 1) }],
  ["i32", { dtype: "int32", shape: [3], data: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1) }],
  ["bf16", { dtype: "bfloat16", shape: [3], data: encode("bfloat16", [1, -2.5, Number.POSITIVE_INFINITY]) }],
  ["f16", { dtype: "float16", shape: [3], data: encode("float16", [1, -2.5, 65504]) }],
  ["u16", { dtype: "uint16", shape: [1], data: Uint16Array.of(65535) }],
  ["i16", { dtype: "int16", shape: [1], data: Int16Array.of(-32768) }],
  ["i8", { dtype: "int8", shape: [3], data: Int8Array.of(-128, 0, 127) }],
  ["u8", { dtype: "uint8", shape: [3], data: Uint8Array.of(0, 127, 255) }],
  ["bool", { dtype: "bool", shape: [2, 2], data: Uint8Array.of(1, 0, 0, 1) }],
  ["layers.10.weight", { dtype: "float32", shape: [], data: Float32Array.of(10) }],
  ["layers.9.weight", { dtype: "float32", shape: [1], data: Float32Array.of(9) }],
  ["empty", { dtype: "float32", shape: [0, 4], data: new Float32Array(0) }],
  ['積み木 "quoted"\t🧱', { dtype: "uint8", shape: [1], data: Uint8Array.of(7) }],
  ["\uffee", { dtype: "uint8", shape: [1], data: Uint8Array.of(8) }],
]);

/** A file with the header given, as text or as what JSON makes of it, and `dataBytes` zeros behind it. */
function fileWith(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const checkpointError = (message: RegExp) =>
  expect.objectContaining({ code: "CHECKPOINT", message: expect.stringMatching(message) });
const refuses = (file: Uint8Array, message: RegExp) => expect(() => decodeSafetensors(file)).toThrow(checkpointError(message));

const tensor = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.infiniteStream(fc.nat(255)),
  })
  .map(({ dtype, shape, seed }): HostArray => {
    const data = allocate(dtype, elementCount(shape));
    const bytes = new Uint8Array(data.buffer);
    for (let i = 0; i < bytes.length; i++) bytes[i] = seed.next().value ?? 0;
    return { dtype, shape, data };
  });
const text = fc.string({ unit: "binary" });
const tensors = fc
  .uniqueArray(fc.tuple(text, tensor), { selector: ([name]) => name, maxLength: 8 })
  .map((pairs) => new Map(pairs));
const bits = ({ data }: HostArray) => [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];

describe("the file of the Python library", () => {
  it("is read, every dtype exactly", () => {
    const { metadata, tensors } = decodeSafetensors(golden);
    expect(metadata).toEqual({ format: "pt" });
    expect(Object.fromEntries(tensors)).toEqual(Object.fromEntries(goldenTensors));
  });

  it("is written byte for byte, whatever the order of the tensors", () => {
    expect(encodeSafetensors(goldenTensors, { format: "pt" })).toEqual(golden);
    expect(encodeSafetensors(new Map([...goldenTensors].reverse()), { format: "pt" })).toEqual(golden);
  });
});

describe("encodeSafetensors and decodeSafetensors", () => {
  it("invert each other, bit for bit", () => {
    fc.assert(
      fc.property(tensors, fc.dictionary(text, text), (tensors, metadata) => {
        const decoded = decodeSafetensors(encodeSafetensors(tensors, metadata));
        expect(decoded.metadata).toEqual(metadata);
        expect(new Set(decoded.tensors.keys())).toEqual(new Set(tensors.keys()));
        for (const [name, { dtype, shape, data }] of decoded.tensors) {
          const original = tensors.get(name) as HostArray;
          expect({ dtype, shape, bits: bits({ dtype, shape, data }) }).toEqual({
            dtype: original.dtype,
            shape: original.shape,
            bits: bits(original),
          });
        }
      }),
    );
  });

  it("put all data at a multiple of its element size", () => {
    fc.assert(
      fc.property(tensors, (tensors) => {
        const plan = planSafetensors([...tensors].map(([name, array]) => ({ name, ...array })));
        expect(plan.start.length % 8).toBe(0);
        for (const { tensor, byteOffset } of plan.tensors) expect(byteOffset % bytesPerElement(tensor.dtype)).toBe(0);
      }),
    );
  });

  it("refuse a file cut anywhere, and one that is too long", () => {
    for (let length = 0; length < golden.length; length++) refuses(golden.slice(0, length), /cannot be read as safetensors/);
    refuses(new Uint8Array([...golden, 0]), /1 bytes at its end belong to no tensor/);
  });

  it("throw CHECKPOINT or read something, whatever byte of the file is changed", () => {
    fc.assert(
      fc.property(fc.nat(golden.length - 1), fc.nat(255), (position, byte) => {
        const damaged = golden.slice();
        damaged[position] = byte;
        try {
          decodeSafetensors(damaged);
        } catch (error) {
          expect(error).toEqual(checkpointError(/cannot be read as safetensors/));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("read data from an unaligned view into arrays of their own", () => {
    const shifted = new Uint8Array(golden.length + 1);
    shifted.set(golden, 1);
    const { tensors } = decodeSafetensors(shifted.subarray(1));
    shifted.fill(0);
    expect(Object.fromEntries(tensors)).toEqual(Object.fromEntries(goldenTensors));
  });

  it("keep a file without tensors", () => {
    expect(decodeSafetensors(encodeSafetensors(new Map()))).toEqual({ metadata: {}, tensors: new Map() });
  });
});

describe("a header that lies", () => {
  const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });

  it.each<[string, unknown, number, RegExp]>([
    [
      "an unknown dtype",
      { w: { dtype: "F4_E2M1", shape: [4], data_offsets: [0, 4] } },
      4,
      /tensor "w" has the dtype "F4_E2M1", which is not/,
    ],
    [
      "wrong byte counts",
      { w: f32(0, 8, [3]) },
      8,
      /tensor "w" of dtype F32 and shape \[3\] takes 12 bytes, but .*\[0, 8\] hold 8/,
    ],
    ["offsets in reverse", { w: f32(8, 0, [2]) }, 8, /tensor "w" .* takes 8 bytes, but its data_offsets \[8, 0\] hold -8/],
    [
      "offsets beyond the file",
      { v: f32(0, 4), w: f32(4, 12) },
      8,
      /tensor "w" ends at byte 12 of the data, but only 8 are there/,
    ],
    ["an overlap", { v: f32(0, 8), w: f32(4, 12) }, 12, /tensors "v" and "w" overlap/],
    ["the same place twice", { v: f32(0, 8), w: f32(0, 8) }, 8, /tensors "v" and "w" overlap/],
    ["an empty tensor inside another", { v: f32(0, 8), w: f32(4, 4) }, 8, /tensors "v" and "w" overlap/],
    ["a hole", { v: f32(0, 4), w: f32(8, 12) }, 12, /4 bytes before tensor "w" belong to no tensor/],
    ["a hole at the start", { w: f32(4, 8) }, 8, /4 bytes before tensor "w" belong to no tensor/],
    ["bytes at the end", { w: f32(0, 4) }, 8, /4 bytes at its end belong to no tensor/],
    ["a negative size", { w: f32(0, 4, [-1]) }, 4, /tensor "w" is described wrongly: shape\.0/],
    ["a fractional size", { w: f32(0, 4, [0.5, 2]) }, 4, /tensor "w" is described wrongly: shape\.0/],
    ["a shape beyond counting", { w: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4, /tensor "w" has the impossible shape/],
    [
      "an offset beyond counting",
      `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,1e300]}}`,
      4,
      /tensor "w" is described wrongly: data_offsets\.1/,
    ],
    ["no shape", { w: { dtype: "F32", data_offsets: [0, 4] } }, 4, /tensor "w" is described wrongly: shape/],
    [
      "three offsets",
      { w: { dtype: "F32", shape: [1], data_offsets: [0, 4, 8] } },
      4,
      /tensor "w" is described wrongly: data_offsets/,
    ],
    ["a tensor that is a number", { w: 4 }, 4, /tensor "w" is described wrongly/],
    ["metadata that is not text", { __metadata__: { format: 1 } }, 0, /__metadata__ does not map texts to texts/],
    ["metadata that is a list", { __metadata__: ["pt"] }, 0, /__metadata__ does not map texts to texts/],
    ["a list", [], 0, /does not begin with \{/],
    ["leading white space", " {}", 0, /does not begin with \{/],
    ["a byte order mark", "\ufeff{}", 0, /not JSON/],
    ["no JSON", "{", 0, /not JSON/],
    ["an empty header", "", 0, /not JSON/],
    ["bytes behind the JSON", "{}\0\0", 0, /not JSON/],
  ])("is refused: %s", (_, header, dataBytes, message) => refuses(fileWith(header, dataBytes), message));

  it.each([
    [
      "a tensor",
      `{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}, "\\u0077" : {"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`,
      "w",
    ],
    ["a field", `{"w":{"dtype":"F32","dtype":"I32","shape":[0],"data_offsets":[0,0]}}`, "dtype"],
    ["a metadata key", `{"__metadata__":{"a\\"b":"","a\\"b":""}}`, 'a\\"b'],
  ])("is refused when it gives %s twice", (_, header, key) =>
    expect(() => decodeSafetensors(fileWith(header, 0))).toThrow(
      expect.objectContaining({ message: expect.stringContaining(`"${key}" twice`) }),
    ),
  );

  it("takes the same key in different objects, and a text that equals a key", () => {
    const header = { __metadata__: { w: "w", dtype: '"w":' }, w: f32(0, 4), v: f32(4, 8) };
    expect([...decodeSafetensors(fileWith(header, 8)).tensors.keys()]).toEqual(["w", "v"]);
  });

  it("is refused when it is not UTF-8", () => {
    const file = fileWith({ w: f32(0, 4) }, 4);
    file[file.indexOf("w".charCodeAt(0))] = 0xff;
    refuses(file, /not JSON in UTF-8/);
  });

  it("is refused when its length is more than the file or more than 100 MB", () => {
    const file = fileWith({}, 0);
    const lie = (length: bigint) => {
      const copy = file.slice();
      new DataView(copy.buffer).setBigUint64(0, length, true);
      return copy;
    };
    refuses(lie(3n), /said to have 3 bytes, but only 2 follow/);
    refuses(lie(100_000_001n), /more than the 100000000 allowed/);
    refuses(lie(2n ** 64n - 1n), /18446744073709551615 bytes, more than/);
    refuses(lie(0n), /not JSON/);
  });

  it("names the source that it was given", () => {
    expect(() => decodeSafetensors(new Uint8Array(3), "weights from the net")).toThrow(
      /^weights from the net cannot be read .* it has 3 bytes/,
    );
  });
});

describe("what cannot be written", () => {
  const array = (dtype: DType, shape: number[], data: HostArray["data"]): HostArray => ({ dtype, shape, data });
  const encodeOne = (name: string, value: HostArray) => () => encodeSafetensors(new Map([[name, value]]));

  it.each<[string, () => unknown, RegExp]>([
    [
      "data too short",
      encodeOne("w", array("float32", [2, 2], new Float32Array(3))),
      /Tensor "w" .*\[2, 2\] has 4 elements, but its data 3/,
    ],
    [
      "data of another dtype",
      encodeOne("w", array("float32", [1], new Float64Array(1))),
      /Tensor "w" .*Float32Array, but a Float64Array/,
    ],
    [
      "an unknown dtype",
      encodeOne("w", array("complex64" as DType, [1], new Float32Array(1))),
      /Tensor "w" .*its dtype is "complex64"; known/,
    ],
    ["a negative size", encodeOne("w", array("float32", [-1], new Float32Array(0))), /Tensor "w" .*its shape is \[-1\]/],
    ["the metadata's name", encodeOne("__metadata__", array("float32", [0], new Float32Array(0))), /keeps this name for itself/],
    ["half a character", encodeOne("\ud83e", array("float32", [0], new Float32Array(0))), /not valid Unicode/],
    ["metadata that is no text", () => encodeSafetensors(new Map(), { a: 1 } as never), /maps text to text, but "a" is 1/],
    [
      "a name given twice",
      () => planSafetensors([1, 2].map((size) => ({ name: "w", dtype: "float32" as const, shape: [size] }))),
      /Tensor "w" .*given twice/,
    ],
    ["a header beyond 100 MB", () => planSafetensors([], { text: "x".repeat(100_000_000) }), /may have 100000000 bytes/],
  ])("is refused: %s", (_, write, message) => expect(write).toThrow(checkpointError(message)));
});
