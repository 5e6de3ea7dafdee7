import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, copyFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from "./safetensors.node.js";
import { decodeSafetensors, encodeSafetensors } from "./safetensors-format.js";

const goldenPath = fileURLToPath(new URL("./golden/mixed.safetensors", import.meta.url));

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-safetensors-"));
  path = join(folder, "model.safetensors");
});
afterEach(() => rm(folder, { recursive: true }));

const entry = (name: string, values: readonly number[], data?: SafetensorsEntry["data"]): SafetensorsEntry => ({
  name,
  dtype: "float32",
  shape: [values.length],
  data: data ?? (() => Float32Array.from(values)),
});
const checkpointError = (message: RegExp) =>
  expect.objectContaining({ code: "CHECKPOINT", message: expect.stringMatching(message) });

it("names a Git LFS pointer as such", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-lfs-"));
  const path = join(folder, "model.safetensors");
  await writeFile(path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
  await expect(readSafetensors(path)).rejects.toMatchObject({
    code: "CHECKPOINT",
    message: expect.stringMatching(/Git LFS pointer.*git lfs pull/),
  });
  await rm(folder, { recursive: true });
});

describe("readSafetensors", () => {
  it("reads what decodeSafetensors reads, and says where each tensor lies", async () => {
    const bytes = await readFile(goldenPath);
    const { tensors } = decodeSafetensors(bytes);
    await using file = await readSafetensors(goldenPath);
    expect(file.path).toBe(goldenPath);
    expect(file.metadata).toEqual({ format: "pt" });
    expect([...file.tensors.keys()]).toEqual([...tensors.keys()]);
    for (const [name, { byteOffset, byteLength, dtype, shape }] of file.tensors) {
      const array = await file.read(name);
      expect(array).toEqual(tensors.get(name));
      expect({ dtype, shape }).toEqual({ dtype: array.dtype, shape: array.shape });
      expect(Buffer.from(array.data.buffer)).toEqual(bytes.subarray(byteOffset, byteOffset + byteLength));
    }
  });

  it("refuses a file cut at any boundary before it reads a tensor, and closes it", async () => {
    const { length } = await readFile(goldenPath);
    const { tensors } = decodeSafetensors(await readFile(goldenPath));
    await using whole = await readSafetensors(goldenPath);
    const boundaries = [...whole.tensors.values()].flatMap(({ byteOffset, byteLength }) => [byteOffset, byteOffset + byteLength]);
    expect(tensors.size).toBeGreaterThan(10);
    for (const size of new Set([0, 1, 7, 8, 9, ...boundaries.flatMap((at) => [at - 1, at, at + 1])])) {
      if (size >= length) continue;
      await copyFile(goldenPath, path);
      await truncate(path, size);
      await expect(readSafetensors(path)).rejects.toThrow(checkpointError(/model\.safetensors cannot be read as safetensors/));
    }
  });

  it("refuses what is absent, a folder, or foreign", async () => {
    await expect(readSafetensors(path)).rejects.toThrow(checkpointError(/cannot be opened: ENOENT/));
    await expect(readSafetensors(folder)).rejects.toThrow(checkpointError(/is not a file/));
    await writeFile(path, "PK\u0003\u0004 this is a PyTorch zip archive, not a safetensors file");
    await expect(readSafetensors(path)).rejects.toThrow(checkpointError(/another format/));
  });

  it("names a tensor that is not there, and those that are", async () => {
    await writeSafetensors(path, [entry("a", [1]), entry("b", [2])]);
    await using file = await readSafetensors(path);
    await expect(file.read("c")).rejects.toThrow(checkpointError(/has no tensor "c"\. It has a, b\./));
  });

  it("notices a file that is cut while it is open", async () => {
    await writeSafetensors(path, [entry("a", [1, 2, 3])]);
    await using file = await readSafetensors(path);
    await truncate(path, (file.tensors.get("a")?.byteOffset ?? 0) + 5);
    await expect(file.read("a")).rejects.toThrow(checkpointError(/it was cut while it was open/));
  });

  it("keeps reading the old file when a new one takes its name", async () => {
    await writeSafetensors(path, [entry("a", [1])]);
    await using file = await readSafetensors(path);
    await writeSafetensors(path, [entry("a", [2])]);
    expect((await file.read("a")).data).toEqual(Float32Array.of(1));
  });

  it("refuses to read after close, and closes once", async () => {
    const file = await readSafetensors(goldenPath);
    await file.close();
    await file.close();
    await expect(file.read("f32")).rejects.toMatchObject({ code: "RELEASED" });
  });
});

describe("the entry of the package", () => {
  it("reads and writes files in Node, and says in a page what to do instead", async () => {
    const node = await import("./index.js");
    expect([node.readSafetensors, node.writeSafetensors]).toEqual([readSafetensors, writeSafetensors]);
    const browser = await import("./safetensors.browser.js");
    await expect(browser.readSafetensors(path)).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringContaining("decodeSafetensors"),
    });
    await expect(browser.writeSafetensors(path, [])).rejects.toMatchObject({
      message: expect.stringContaining("encodeSafetensors"),
    });
  });
});

describe("writeSafetensors", () => {
  it("writes what encodeSafetensors writes, with data that comes late", async () => {
    const { metadata, tensors } = decodeSafetensors(await readFile(goldenPath));
    const entries = [...tensors].map(([name, { data, ...rest }]) => ({ name, ...rest, data: async () => data }));
    await writeSafetensors(path, entries, metadata);
    expect(new Uint8Array(await readFile(path))).toEqual(encodeSafetensors(tensors, metadata));
  });

  it("asks for one tensor's data at a time, in the order of the file", async () => {
    const events: string[] = [];
    const slow = (name: string) =>
      entry(name, [0], async () => {
        events.push(`${name} asked for`);
        await new Promise((resolve) => setTimeout(resolve, 1));
        events.push(`${name} given`);
        return new Float32Array(1);
      });
    await writeSafetensors(path, [slow("b"), slow("a")]);
    expect(events).toEqual(["a asked for", "a given", "b asked for", "b given"]);
  });

  it("writes data that is a part of a larger buffer, or shared memory", async () => {
    const all = Float32Array.of(9, 1, 2, 9);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    await writeSafetensors(path, [entry("a", [0, 0], () => all.subarray(1, 3)), entry("b", [0, 0], () => shared)]);
    await using file = await readSafetensors(path);
    expect((await file.read("a")).data).toEqual(Float32Array.of(1, 2));
    expect((await file.read("b")).data).toEqual(Float32Array.of(3, 4));
  });

  it("leaves the previous file and nothing else when the data of a tensor fails", async () => {
    await writeSafetensors(path, [entry("a", [1])]);
    const before = await readFile(path);
    const failure = new Error("the device was lost");
    const fails = entry("b", [1], () => Promise.reject(failure));
    await expect(writeSafetensors(path, [entry("a", [2]), fails])).rejects.toBe(failure);
    await expect(writeSafetensors(path, [entry("a", [2]), entry("b", [1, 2], () => new Float32Array(1))])).rejects.toThrow(
      checkpointError(/Tensor "b" cannot be written: its shape \[2\] has 2 elements, but its data 1/),
    );
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
  });

  it.skipIf(process.platform === "win32")("leaves the previous file and nothing else when the disk takes no more", async () => {
    await writeSafetensors(path, [entry("a", [1])]);
    const before = await readFile(path);
    const script = join(folder, "save.mts");
    await writeFile(
      script,
      `import { writeSafetensors } from ${JSON.stringify(new URL("./safetensors.node.ts", import.meta.url).href)};
      const tensor = (name) => ({ name, dtype: "float32", shape: [40_000], data: () => new Float32Array(40_000) });
      await writeSafetensors(${JSON.stringify(path)}, ["a", "b", "c"].map(tensor)).catch((error) => console.log(error.code));`,
    );
    // A limit of 256 blocks of 512 or 1,024 bytes: the kernel refuses the write in the middle of the file, as a full disk would.
    const child = spawn("sh", ["-c", 'ulimit -f 256 && exec "$0" --import tsx "$1"', process.execPath, script]);
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    expect([await once(child, "close"), output]).toEqual([[0, null], "EFBIG\n"]);
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(folder)).sort()).toEqual(["model.safetensors", "save.mts"]);
  });

  it("refuses a file that grew behind its data", async () => {
    await writeSafetensors(path, [entry("a", [1])]);
    await appendFile(path, "\0");
    await expect(readSafetensors(path)).rejects.toThrow(checkpointError(/1 bytes at its end belong to no tensor/));
  });
});
