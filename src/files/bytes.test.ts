import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { readFully, writeFully } from "./bytes.node.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-bytes-"));
  path = join(folder, "file");
});
afterEach(() => rm(folder, { recursive: true }));

const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);

/** A file of which a call moves seven bytes at most, as a network drive or a disk that is nearly full may have it. */
async function hesitant() {
  const file = await open(path, "w+");
  const { read, write } = file;
  const few = (length: number) => Math.min(length, 7);
  vi.spyOn(file, "write").mockImplementation(((data: Uint8Array, offset: number, length: number, position: number | null) =>
    Reflect.apply(write, file, [data, offset, few(length), position])) as typeof write);
  vi.spyOn(file, "read").mockImplementation(((data: Uint8Array, offset: number, length: number, position: number) =>
    Reflect.apply(read, file, [data, offset, few(length), position])) as typeof read);
  return file;
}

it("all bytes are written, one array after the other or where it is said", async () => {
  await using file = await hesitant();
  await writeFully(file, bytes.subarray(0, 30));
  await writeFully(file, bytes.subarray(30, 50));
  await writeFully(file, bytes.subarray(60), 60);
  await writeFully(file, bytes.subarray(50, 60), 50);
  expect(new Uint8Array(await readFile(path))).toEqual(bytes);
});

it("all bytes are read, or those that are there", async () => {
  await using file = await hesitant();
  await writeFully(file, bytes);
  const part = new Uint8Array(50);
  expect(await readFully(file, part, 20)).toBe(50);
  expect(part).toEqual(bytes.slice(20, 70));
  expect(await readFully(file, part, 90)).toBe(10);
  expect(await readFully(file, part, 200)).toBe(0);
});

it("what the disk says is passed on", async () => {
  await using file = await open(path, "w");
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  vi.spyOn(file, "write").mockRejectedValue(full);
  await expect(writeFully(file, bytes)).rejects.toBe(full);
});
