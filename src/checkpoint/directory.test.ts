import {
  appendFile,
  copyFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FloatDType, roundTo } from "../graph/dtype.js";
import { toNumbers } from "../graph/host-array.js";
import { Parameter } from "../graph/variable.js";
import { checkpointVariables, modelFromConfig } from "../models/architectures.js";
import { requireWeights, saveWeights } from "./directory.node.js";
import { readSafetensors } from "./safetensors.node.js";
import { indexFile, shardName } from "./safetensors-index.js";
import { locateTensors } from "./tensor-files.node.js";
import { fillHole, type HollowFile, writeHollowCheckpoint } from "./testing/hollow-checkpoint.js";
import { openVariables } from "./variables.node.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-shards-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const fails = (...messages: readonly RegExp[]) => {
  const matching = messages.map((message) =>
    expect.objectContaining({ code: "CHECKPOINT", message: expect.stringMatching(message) }),
  );
  return { asymmetricMatch: (error: unknown) => matching.every((matcher) => matcher.asymmetricMatch(error)) };
};

/** Six parameters of 40 bytes. */
const parameters = (offset = 0): Map<string, Parameter> =>
  new Map(
    ["a", "b", "c", "d", "e", "f"].map((name, i) => {
      const parameter = new Parameter([10]);
      parameter.write({ dtype: "float32", shape: [10], data: Float32Array.from({ length: 10 }, (_, k) => offset + i + k / 10) });
      return [name, parameter];
    }),
  );
const values = async (variables: ReadonlyMap<string, Parameter>): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    await Promise.all([...variables].map(async ([name, variable]) => [name, [...toNumbers(await variable.read())]])),
  );
const opened = async () => {
  const variables = parameters(100);
  await openVariables(await requireWeights(folder), variables);
  return variables;
};
const rewriteIndex = async (change: (map: Record<string, string>) => void) => {
  const path = join(folder, indexFile);
  const index = JSON.parse(await readFile(path, "utf8")) as { weight_map: Record<string, string> };
  change(index.weight_map);
  await writeFile(path, JSON.stringify(index));
};
const shards = [0, 1, 2].map((i) => shardName(i, 3));

describe("a checkpoint in several files", () => {
  it("is written as transformers writes it, and read again", async () => {
    await saveWeights(folder, parameters(), { maxShardBytes: 80 });
    expect((await readdir(folder)).sort()).toEqual([...shards, indexFile].sort());
    expect(JSON.parse(await readFile(join(folder, indexFile), "utf8"))).toEqual({
      metadata: { total_size: 240 },
      weight_map: { a: shards[0], b: shards[0], c: shards[1], d: shards[1], e: shards[2], f: shards[2] },
    });
    const variables = await opened();
    expect(await values(variables)).toEqual(await values(parameters()));
    expect(variables.get("c")?.file?.path).toBe(join(folder, shards[1] as string)); // used where it lies
  });

  it("is one file where everything fits, and a tensor that is too large has a file of its own", async () => {
    await saveWeights(folder, parameters(), { maxShardBytes: 240 });
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    await saveWeights(folder, parameters(), { maxShardBytes: 1 });
    expect((await readdir(folder)).length).toBe(7);
    await expect(saveWeights(folder, parameters(), { maxShardBytes: 0 })).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  it("replaces what was there, also what its own variables still lie in", async () => {
    for (const maxShardBytes of [80, 120, 240, 40, 80, 80]) {
      const before = await readdir(folder);
      const variables = before.length > 0 ? await opened() : parameters();
      variables.get("a")?.write({ dtype: "float32", shape: [10], data: new Float32Array(10).fill(maxShardBytes) });
      const expected = await values(variables);
      await saveWeights(folder, variables, { maxShardBytes });
      expect(await values(variables)).toEqual(expected);
      expect(await values(await opened())).toEqual(expected);
      const count = Math.ceil(240 / maxShardBytes);
      expect((await readdir(folder)).length).toBe(count === 1 ? 1 : count + 1);
    }
  });

  it("leaves the old one whole when the new one cannot be completed", async () => {
    await saveWeights(folder, parameters(), { maxShardBytes: 80 });
    const broken = parameters(50);
    broken.get("f")?.moveTo({ read: () => Promise.reject(new Error("the device was lost")) });
    for (const maxShardBytes of [80, 240])
      await expect(saveWeights(folder, broken, { maxShardBytes })).rejects.toThrow("the device was lost");
    expect((await readdir(folder)).sort()).toEqual([...shards, indexFile].sort());
    expect(await values(await opened())).toEqual(await values(parameters()));
  });

  it("is refused where saving was interrupted between its files", async () => {
    await saveWeights(folder, parameters(), { maxShardBytes: 80 });
    const old = await mkdtemp(join(folder, "old-"));
    await copyFile(join(folder, shards[2] as string), join(old, "kept"));
    await saveWeights(folder, parameters(7), { maxShardBytes: 80 });
    await copyFile(join(old, "kept"), join(folder, shards[2] as string));
    await expect(opened()).rejects.toThrow(fails(/were not saved together/));
  });
});

describe("floats of other widths", () => {
  it.each(["bfloat16", "float16"] as const)("are written in %s, and read as they are held", async (dtype: FloatDType) => {
    await saveWeights(folder, parameters(), { dtype, maxShardBytes: 60 });
    await using file = await readSafetensors(join(folder, shardName(0, 2)));
    expect(file.tensors.get("a")).toMatchObject({ dtype, byteLength: 20 });
    const rounded = Object.fromEntries(
      Object.entries(await values(parameters())).map(([name, row]) => [name, row.map((v) => roundTo(dtype, v))]),
    );
    expect(await values(await opened())).toEqual(rounded);
  });

  it("do not round the variables that are saved, wherever they lie", async () => {
    await saveWeights(folder, parameters());
    const variables = await opened();
    await saveWeights(folder, variables, { dtype: "bfloat16" });
    expect(await values(variables)).toEqual(await values(parameters()));
  });
});

describe("an index that does not fit", () => {
  beforeEach(() => saveWeights(folder, parameters(), { maxShardBytes: 80 }));

  it("is refused with everything that is wrong", async () => {
    await rm(join(folder, shards[1] as string));
    await truncate(join(folder, shards[2] as string), 60);
    await rewriteIndex((map) => {
      map.b = "../../etc/passwd";
      map.g = shards[0] as string;
    });
    await expect(opened()).rejects.toThrow(
      fails(
        /names "\.\.\/\.\.\/etc\/passwd", which is not a file inside the folder/,
        /model-00002-of-00003\.safetensors cannot be opened: ENOENT/,
        /model-00003-of-00003\.safetensors cannot be read as safetensors/,
        /model-00001-of-00003\.safetensors should hold g, but does not/,
        /model-00001-of-00003\.safetensors holds b, which the index puts into \.\.\/\.\.\/etc\/passwd/,
        /nothing was loaded/,
      ),
    );
  });

  it.each(["/etc/passwd", "..\\x.safetensors", "a/../../x", "C:\\x", ""])("leads to no file outside: %j", async (name) => {
    await rewriteIndex((map) => {
      map.a = name;
    });
    await expect(opened()).rejects.toThrow(fails(/is not a file inside the folder/));
  });

  it("leads to no file outside by a link to a folder, and does through a link to a file, as the hub's cache has them", async () => {
    const elsewhere = join(folder, "elsewhere");
    const inside = join(folder, "inside");
    for (const each of [elsewhere, inside]) await mkdir(each);
    const [first] = shards as [string];
    await rename(join(folder, first), join(elsewhere, first));
    for (const name of (await readdir(folder)).filter((name) => name.startsWith("model")))
      await rename(join(folder, name), join(inside, name));
    await symlink(join(elsewhere, first), join(inside, first));
    expect((await locateTensors(join(inside, indexFile))).size).toBe(parameters().size);
    await symlink(elsewhere, join(inside, "out"));
    const path = join(inside, indexFile);
    await writeFile(path, (await readFile(path, "utf8")).replaceAll(first, `out/${first}`));
    await expect(locateTensors(path)).rejects.toThrow(fails(/names "out\/model-.*", which is not a file inside the folder/));
  });

  it("is refused where it is none", async () => {
    const path = join(folder, indexFile);
    await writeFile(path, '{"weight_map": {"a": ');
    await expect(opened()).rejects.toThrow(fails(/is not JSON; it may be truncated/));
    await writeFile(path, '{"weight_map": {"a": 1}}');
    await expect(opened()).rejects.toThrow(fails(/is not an index of safetensors files/));
  });

  it("names every tensor that a model lacks, has too many or has in another shape", async () => {
    const variables = parameters();
    for (let i = 0; i < 20; i++) variables.set(`x${i}`, new Parameter([1]));
    variables.delete("a");
    variables.set("b", new Parameter([5, 2]));
    const missing = Array.from({ length: 20 }, (_, i) => `x${i}`).join(", ");
    await expect(openVariables(join(folder, indexFile), variables)).rejects.toThrow(
      fails(new RegExp(`missing: ${missing}$`, "m"), /not expected: a$/m, /b is \[10\] and should be \[5, 2\]/),
    );
  });
});

/** Llama 2 7B. */
const sevenBillion = {
  ...{ model_type: "llama", vocab_size: 32000, hidden_size: 4096, intermediate_size: 11008 },
  ...{ num_hidden_layers: 32, num_attention_heads: 32, max_position_embeddings: 4096 },
};

describe.each([
  ["one file", Number.POSITIVE_INFINITY, 1],
  ["three files", 5e9, 3],
])("the 13 GB of a model with 7 billion parameters in %s", (_, maxShardBytes, count) => {
  it("are opened by what their headers take, and a tensor is read alone", async () => {
    const variables = checkpointVariables(modelFromConfig(sevenBillion));
    const files = await writeHollowCheckpoint(folder, variables, { dtype: "bfloat16", maxShardBytes });
    expect(files.length).toBe(count);
    expect(files.reduce((total, { plan }) => total + plan.fileBytes, 0)).toBeGreaterThan(13.4e9);
    const { path: lastPath, plan } = files.at(-1) as HollowFile;
    const last = plan.tensors.at(-1) as (typeof plan.tensors)[number];
    await fillHole(lastPath, last.byteOffset, Uint8Array.of(0x80, 0x3f)); // 1 in bfloat16

    const read = await countingReads();
    await openVariables(await requireWeights(folder), variables);
    expect(read.bytes()).toBe(files.reduce((total, { plan: { start } }) => total + start.length, 0));
    expect(read.bytes()).toBeLessThan(100_000);
    const value = await variables.get(last.tensor.name)?.read();
    expect(value?.data.slice(0, 2)).toEqual(Float32Array.of(1, 0));
    expect(read.bytes()).toBeLessThan(200_000 + last.byteLength); // the header again, and the tensor
    await appendFile(lastPath, "\0");
    await expect(variables.get(last.tensor.name)?.read()).rejects.toThrow(fails(/was replaced or removed/));
  });
});

/** Counts the bytes that are read from open files from now on. The index, which is read whole, is not among them. */
async function countingReads(): Promise<{ bytes: () => number }> {
  await using file = await open(join(folder, (await readdir(folder))[0] as string), "r");
  const prototype = Object.getPrototypeOf(file) as FileHandle;
  const { read } = prototype;
  let total = 0;
  vi.spyOn(prototype, "read").mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
    const result = await Reflect.apply(read, this, args);
    total += result.bytesRead;
    return result;
  } as typeof read);
  return { bytes: () => total };
}
