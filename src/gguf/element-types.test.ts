import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, it } from "vitest";
import { readSafetensors } from "../checkpoint/index.js";
import type { HostArray } from "../graph/host-array.js";
import { elementType, writableTypes } from "./element-types.js";

/** Blocks and their values by the Python package of llama.cpp's authors: reference/gguf_blocks.py. */
const golden = new Map<string, HostArray>();
await using file = await readSafetensors(
  fileURLToPath(new URL("../../reference/golden/gguf-blocks.safetensors", import.meta.url)),
);
for (const name of file.tensors.keys()) golden.set(name, await file.read(name));

const codes: Readonly<Record<string, number>> = {
  ...{ Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8, IQ4_NL: 20 },
  ...{ Q2_K: 10, Q3_K: 11, Q4_K: 12, Q5_K: 13, Q6_K: 14, IQ4_XS: 23 },
};

it.each(Object.entries(codes))("%s is read as the reference reads it", (name, code) => {
  const { data, shape } = golden.get(`${name}.blocks`) as HostArray<"uint8">;
  const expected = golden.get(`${name}.values`) as HostArray<"float32">;
  const type = elementType(code);
  expect(type).toMatchObject({ name, blockBytes: shape[1], blockElements: expected.shape[1] });
  expect(type?.decode(Uint8Array.from(data), expected.data.length)).toEqual(expected.data);
});

it.each(["q8_0", "q4_0", "float16", "bfloat16"] as const)("%s is written as the reference writes it", (dtype) => {
  const rows = golden.get("rows") as HostArray<"float32">;
  const type = writableTypes[dtype];
  expect(type.encode(rows.data)).toEqual(golden.get(`rows.${type.name}`)?.data);
});

it.each([
  ["q8_0", 127 / 0.57],
  ["q4_0", 8],
] as const)("%s is off by a step at most", (dtype, steps) => {
  const { encode, decode } = writableTypes[dtype];
  fc.assert(
    fc.property(fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 32, maxLength: 32 }), (row) => {
      const decoded = decode(Uint8Array.from(encode(Float32Array.from(row))), 32);
      const step = Math.max(...row.map(Math.abs)) / steps;
      for (const [i, value] of row.entries())
        expect(Math.abs(value - (decoded[i] as number))).toBeLessThanOrEqual(1.01 * step + 1e-5);
    }),
  );
});
