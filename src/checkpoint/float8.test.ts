import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Parameter } from "../graph/variable.js";
import { applyScales } from "./float8.js";
import { readSafetensors } from "./safetensors.node.js";
import { decodeSafetensors } from "./safetensors-format.js";
import { loadVariables, openVariables } from "./variables.node.js";

const golden = fileURLToPath(new URL("./golden/float8.safetensors", import.meta.url));
const fails = (message: RegExp) => expect.objectContaining({ code: "CHECKPOINT", message: expect.stringMatching(message) });

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-float8-"));
});
afterEach(() => rm(folder, { recursive: true }));

type Described = readonly [dtype: string, shape: readonly number[], data: Uint8Array | Float32Array];

/** A safetensors file of tensors as their bytes. */
async function file(tensors: Readonly<Record<string, Described>>): Promise<string> {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, [dtype, shape, { byteLength }]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + byteLength] };
    end += byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const data = Object.values(tensors).map(([, , { buffer, byteOffset, byteLength }]) =>
    Buffer.from(buffer, byteOffset, byteLength),
  );
  const path = join(folder, "model.safetensors");
  await writeFile(path, Buffer.concat([length, json, ...data]));
  return path;
}

describe("8-bit floats", () => {
  it.each(["e4m3", "e5m2"])("of %s are what PyTorch reads them as, from a file and from memory", async (format) => {
    await using onDisk = await readSafetensors(golden);
    const { tensors } = decodeSafetensors(await readFile(golden));
    const expected = tensors.get(`${format}.expected`)?.data;
    expect(tensors.get(format)).toMatchObject({ dtype: "float32", shape: [256] });
    expect(tensors.get(format)?.data).toEqual(expected);
    expect((await onDisk.read(format)).data).toEqual(expected);
  });

  it("are multiplied by the scales beside them, which no variable needs to ask for", async () => {
    const { tensors } = decodeSafetensors(await readFile(golden));
    const weight = new Parameter([4, 3]);
    const options = { ignore: (name: string) => /^e|expected/.test(name) };
    for (const bring of [openVariables, loadVariables]) {
      await bring(golden, new Map([["rows.weight", weight]]), options);
      expect((await weight.read()).data).toEqual(tensors.get("rows.expected")?.data);
      expect(weight.file).toBeUndefined(); // engines cannot use it where it lies
    }
    await expect(openVariables(golden, new Map([["rows.weight", weight]]))).rejects.toThrow(
      fails(/not expected: .*rows\.expected/),
    );
  });

  it("pass over scales of activations, and name a tensor that belongs to nothing", async () => {
    const one = Float32Array.of(2);
    const codes = Uint8Array.of(0x38, 0xb8); // 1, −1
    const path = await file({
      "a.weight_scale": ["F32", [], one],
      "a.input_scale": ["F32", [], one],
      "a.weight": ["F8_E4M3", [2], codes],
      "b.weight": ["F8_E5M2", [2], codes],
    });
    const weight = new Parameter([2]);
    await expect(loadVariables(path, new Map([["a.weight", weight]]))).rejects.toThrow(fails(/not expected: b\.weight$/));
    await loadVariables(path, new Map([["a.weight", weight]]), { ignore: (name) => name === "b.weight" });
    expect((await weight.read()).data).toEqual(Float32Array.of(2, -2));
  });
});

describe("scales", () => {
  it("belong to blocks of 128 rows and columns, the last of which may be cut off", () => {
    const [rows, columns] = [130, 300];
    const values = new Float32Array(rows * columns).fill(1);
    applyScales(values, [rows, columns], { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }, "w");
    const at = (row: number, column: number) => values[row * columns + column];
    expect([at(0, 0), at(127, 127), at(127, 128), at(0, 299), at(128, 0), at(129, 255), at(129, 256)]).toEqual([
      1, 1, 2, 3, 4, 5, 6,
    ]);
  });

  it("belong to each matrix of a stack by itself", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        (matrices, rows, columns) => {
          const scales = Float32Array.from({ length: matrices * rows }, (_, i) => i + 1);
          const values = new Float32Array(matrices * rows * columns).fill(1);
          applyScales(values, [matrices, rows, columns], { dtype: "float32", shape: [matrices, rows, 1], data: scales }, "w");
          expect([...values]).toEqual([...scales].flatMap((scale) => Array<number>(columns).fill(scale)));
        },
      ),
    );
  });

  it("of another shape are refused", () => {
    const scales = { dtype: "float32" as const, shape: [3, 2], data: new Float32Array(6) };
    expect(() => applyScales(new Float32Array(20), [4, 5], scales, "w")).toThrow(
      fails(/scales of w \[4, 5\] have the shape \[3, 2\]/),
    );
  });
});
