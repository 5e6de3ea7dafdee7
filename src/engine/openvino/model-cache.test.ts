import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Graph } from "../../graph/graph.js";
import type { HostArray } from "../../graph/host-array.js";
import { constant, input } from "../../graph/leaves.js";
import { add, matmul, sin } from "../../graph/ops/index.js";
import { modelSource } from "../model-source.js";
import { float32, graphOf } from "../testing/graphs.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { inWorker } from "../worker/engine.js";
import { openVino } from "./engine.js";
import { ModelCache } from "./model-cache.node.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tsumiki-cache-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const model = (kind: number): Uint8Array => new Uint8Array(20_000).fill(kind);

/** A compiler that writes one file into its folder unless one is there, and tells which of the two it did. */
async function compiler(cacheFolder?: string): Promise<"compiled" | "found"> {
  if (cacheFolder === undefined) return "compiled";
  const path = join(cacheFolder, "1234.blob");
  if (readdirSync(cacheFolder).includes("1234.blob")) return "found";
  writeFileSync(path, "compiled model");
  return "compiled";
}

const entries = () => readdirSync(folder).sort();
const onlyEntry = (): string => {
  expect(entries()).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  return join(folder, entries()[0] as string);
};

describe("a folder of compiled models", () => {
  it("gives back what was compiled for the same model by the same compiler, and nothing else", async () => {
    const cache = new ModelCache(folder, "version 1");
    expect(await cache.compile(model(1), compiler)).toBe("compiled");
    expect(await cache.compile(model(1), compiler)).toBe("found");
    expect(await new ModelCache(folder, "version 1").compile(model(1), compiler)).toBe("found");
    expect(await cache.compile(model(2), compiler)).toBe("compiled");
    expect(await new ModelCache(folder, "version 2").compile(model(1), compiler)).toBe("compiled");
    expect(entries()).toHaveLength(3);
  });

  it("is made when something is kept, which the smallest models are not", async () => {
    const deep = join(folder, "run", "compiled");
    const cache = new ModelCache(deep, "version 1");
    await cache.compile(model(1).subarray(0, 1000), compiler);
    expect(entries()).toEqual([]);
    await cache.compile(model(1), compiler);
    expect(readdirSync(deep)).toHaveLength(1);
  });

  it.each<[string, (entry: string) => void]>([
    ["is cut off", (entry) => truncateSync(join(entry, "1234.blob"), 5)],
    ["has other bytes", (entry) => writeFileSync(join(entry, "1234.blob"), "compiled mödel")],
    ["has no digests", (entry) => rmSync(join(entry, "SHA256SUMS"))],
    [
      "has digests of nothing",
      (entry) => {
        rmSync(join(entry, "1234.blob"));
        writeFileSync(join(entry, "SHA256SUMS"), "");
      },
    ],
    ["has files besides", (entry) => writeFileSync(join(entry, "5678.blob"), "compiled model")],
    [
      "has become a file",
      (entry) => {
        rmSync(entry, { recursive: true });
        writeFileSync(entry, "");
      },
    ],
  ])("compiles anew, and mends what is kept, when that %s", async (_, damage) => {
    const cache = new ModelCache(folder, "version 1");
    await cache.compile(model(1), compiler);
    damage(onlyEntry());
    expect(await cache.compile(model(1), compiler)).toBe("compiled");
    expect(await cache.compile(model(1), compiler)).toBe("found");
    expect(readdirSync(onlyEntry()).sort()).toEqual(["1234.blob", "SHA256SUMS"]);
  });

  it("drops what the compiler refuses, and compiles", async () => {
    const cache = new ModelCache(folder, "version 1");
    await cache.compile(model(1), compiler);
    const refusing = async (cacheFolder?: string) => {
      if (cacheFolder !== undefined) throw new Error("made for another processor");
      return "compiled";
    };
    expect(await cache.compile(model(1), refusing)).toBe("compiled");
    expect(entries()).toEqual([]);
  });

  it("passes the compiler's errors on, and keeps nothing then", async () => {
    const cache = new ModelCache(folder, "version 1");
    const failing = () => Promise.reject(new Error("unknown operator"));
    await expect(cache.compile(model(1), failing)).rejects.toThrow("unknown operator");
    expect(entries()).toEqual([]);
  });

  it("is no reason to fail when nothing can be written there", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    expect(await new ModelCache(file, "version 1").compile(model(1), compiler)).toBe("compiled");
    expect(readFileSync(file, "utf8")).toBe("");
  });

  it("keeps the eight that were used last", async () => {
    const cache = new ModelCache(folder, "version 1");
    for (let kind = 1; kind <= 8; kind++) await cache.compile(model(kind), compiler);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await cache.compile(model(1), compiler);
    for (const kind of [9, 10]) await cache.compile(model(kind), compiler);
    expect(entries()).toHaveLength(8);
    for (const kind of [1, 9, 10]) expect(await cache.compile(model(kind), compiler)).toBe("found");
  });

  it("removes what a process that was killed while it compiled left, and leaves others at work alone", async () => {
    const child = spawn(process.execPath, ["--eval", ""]);
    await once(child, "close");
    const leftBy = (owner: number | undefined) => join(folder, `${"a".repeat(64)}.${owner}-0123abcd.tmp`);
    for (const owner of [child.pid, process.pid, process.ppid]) mkdirSync(leftBy(owner));
    await new ModelCache(folder, "version 1").compile(model(1), compiler);
    expect(entries().filter((name) => name.endsWith(".tmp"))).toEqual([leftBy(process.ppid).slice(folder.length + 1)]);
  });

  it("serves several that compile the same model at the same time", async () => {
    const caches = [1, 2, 3].map(() => new ModelCache(folder, "version 1"));
    const compiled = await Promise.all(caches.map((cache) => cache.compile(model(1), compiler)));
    expect(compiled).toEqual(["compiled", "compiled", "compiled"]);
    expect(readdirSync(onlyEntry()).sort()).toEqual(["1234.blob", "SHA256SUMS"]);
  });
});

const absent = await whyNoOpenVino();

describe.skipIf(absent)(absent ?? "OpenVINO with a folder of compiled models", () => {
  const matrix = (factor: number): HostArray =>
    float32(
      [64, 64],
      Array.from({ length: 64 * 64 }, (_, i) => (factor * (i % 61)) / 61),
    );

  /** sin(x · w + table), where the table is large enough for the model to be kept. */
  function largeGraph(): Graph {
    const [x, w] = [input("x", "float32", [64, 64]), input("w", "float32", [64, 64])];
    return graphOf({ x, w }, { y: sin(add(matmul(x, w), constant(matrix(3)))) });
  }

  async function compute(frozen: ReadonlyMap<string, HostArray> = new Map()): Promise<HostArray> {
    const engine = await openVino({ threads: 1, cacheFolder: folder });
    const loaded = await engine.load(modelSource(engine, largeGraph(), { frozen }));
    const names = ["x", "w"].filter((name) => !frozen.has(name));
    const inputs = await Promise.all(names.map(async (name) => [name, await engine.upload(matrix(1))] as const));
    const [y] = (await loaded.run(new Map(inputs), new Map([["y", undefined]]))).values();
    const result = await engine.read(y as NonNullable<typeof y>);
    await engine.close();
    return result;
  }

  const blobIn = (entry: string): string => join(entry, readdirSync(entry).find((name) => name.endsWith(".blob")) as string);

  it("computes the same bits from what it kept", async () => {
    const first = await compute();
    const { ino, mtimeMs } = statSync(blobIn(onlyEntry()));
    expect(await compute()).toEqual(first);
    expect(statSync(blobIn(onlyEntry()))).toMatchObject({ ino, mtimeMs });
  });

  it.each<[string, (blob: Buffer) => Buffer]>([
    ["changed", (blob) => Buffer.from(blob.map((byte, i) => (i > blob.length / 4 && i % 7 === 0 ? byte ^ 0xff : byte)))],
    ["cut off", (blob) => blob.subarray(0, blob.length / 2)],
    ["emptied", () => Buffer.alloc(0)],
  ])("lives on, with the same results, when what it kept was %s", async (_, damage) => {
    const first = await compute();
    const blob = blobIn(onlyEntry());
    const damaged = damage(readFileSync(blob));
    chmodSync(blob, 0o644);
    writeFileSync(blob, damaged);
    expect(await compute()).toEqual(first);
    expect(readFileSync(blobIn(onlyEntry())).equals(damaged)).toBe(false);
  });

  it("keeps no weights, so none can be stale", async () => {
    const frozen = (value: number) => new Map([["w", matrix(value)]]);
    const results = [await compute(frozen(0.1)), await compute(frozen(0.2))];
    expect(results[0]).not.toEqual(results[1]);
    expect(entries()).toEqual([]);
  });

  it("keeps no weights that are in files, from a worker neither: the files may change", async () => {
    const weights = mkdtempSync(join(tmpdir(), "tsumiki-weights-"));
    const path = join(weights, "weights.bin");
    const frozen = new Map([["w", { location: "weights", offset: 0, length: 4 * 64 * 64 }]]);
    const computeWith = async (value: number) => {
      writeFileSync(path, (matrix(value) as { data: Float32Array }).data);
      const engine = await inWorker({ engine: "openvino", threads: 1, cacheFolder: folder });
      const source = modelSource(engine, largeGraph(), { frozen, externalFiles: [{ location: "weights", path }] });
      const loaded = await engine.load(source);
      const [y] = (await loaded.run(new Map([["x", await engine.upload(matrix(1))]]), new Map([["y", undefined]]))).values();
      const result = await engine.read(y as NonNullable<typeof y>);
      await engine.close();
      return result;
    };
    try {
      expect(await computeWith(0.1)).not.toEqual(await computeWith(0.2));
      expect(entries()).toEqual([]);
    } finally {
      rmSync(weights, { recursive: true });
    }
  });
});
