import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fromSource } from "../../scripts/from-source.mjs";
import { toNumbers } from "../graph/host-array.js";
import { Variable } from "../graph/variable.js";
import { loadVariables, openVariables, saveVariables } from "./index.js";
import * as browser from "./variables.browser.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-variables-"));
  path = join(folder, "optimizer.safetensors");
});
afterEach(() => rm(folder, { recursive: true }));

const filled = (shape: readonly number[], value: number) =>
  new Variable(shape, { initializer: ([size = 1]) => new Float32Array(size).fill(value) });
const state = (moment: number, count: number) =>
  new Map([["moment", filled([3], moment)] as const, ["count", filled([], count)]]);
const numbers = async (variables: ReadonlyMap<string, Variable>) =>
  Promise.all([...variables.values()].map(async (variable) => [...toNumbers(await variable.read())]));
const refused = (message: RegExp) => expect.objectContaining({ code: "CHECKPOINT", message: expect.stringMatching(message) });

describe("variables in a file", () => {
  it("come back, scalars too, and no longer need the file", async () => {
    await saveVariables(path, state(0.25, 7));
    const loaded = state(0, 0);
    await loadVariables(path, loaded);
    await rm(path);
    expect(await numbers(loaded)).toEqual([[0.25, 0.25, 0.25], [7]]);
  });

  it("stay in the file when they are opened", async () => {
    await saveVariables(path, state(0.25, 7));
    const opened = state(0, 0);
    await openVariables(path, opened);
    expect(opened.get("moment")?.file).toMatchObject({ path, byteLength: 12 });
    expect(await numbers(opened)).toEqual([[0.25, 0.25, 0.25], [7]]);
    await writeFile(path, await readFile(path)); // the same bytes, but who is to know
    await expect(numbers(opened)).rejects.toThrow(refused(/was replaced or removed/));
  });

  it.each([loadVariables, openVariables])("are refused whole by $name when one does not fit", async (load) => {
    const before = state(1, 2);
    const other = new Map<string, Variable>([["moment", filled([3], 9)]]);
    await saveVariables(path, other);
    await expect(load(path, before)).rejects.toThrow(
      refused(/does not fit, and nothing of it was loaded\.\n {2}missing: count$/),
    );
    await saveVariables(path, new Map([...state(9, 9), ...new Map([["spare", filled([1], 9)]])]));
    await expect(load(path, before)).rejects.toThrow(refused(/not expected: spare$/));
    await load(path, state(0, 0), { ignore: (name) => name === "spare" });
    await truncate(path, 40);
    await expect(load(path, before)).rejects.toThrow(refused(/cannot be read as safetensors/));
    expect(await numbers(before)).toEqual([[1, 1, 1], [2]]);
  });

  it.each(["float32", "bfloat16"] as const)("are in memory once when %s is loaded, with little besides", async (dtype) => {
    const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
    const program = `
      import { loadVariables } from ${url("./index.ts")};
      import { writeHollowCheckpoint } from ${url("./testing/hollow-checkpoint.ts")};
      import { Variable } from ${url("../graph/variable.ts")};
      const variables = new Map(Array.from({ length: 40 }, (_, i) => ["w" + i, new Variable([2048, 1024])]));
      const [file] = await writeHollowCheckpoint(${JSON.stringify(folder)}, variables, { dtype: ${JSON.stringify(dtype)} });
      const before = process.memoryUsage().rss;
      await loadVariables(file.path, variables);
      console.log((process.resourceUsage().maxRSS * 1024 - before) / (40 * 2048 * 1024 * 4));`;
    const options = [...fromSource, "--input-type=module", "--eval", program];
    const { stdout } = await promisify(execFile)(process.execPath, options);
    const copies = Number(stdout);
    expect(copies).toBeGreaterThan(0.9);
    expect(copies).toBeLessThan(1.3); // with all 16-bit values kept beside, 1.5
  });

  it("are not opened by path in a page", async () => {
    for (const work of [browser.saveVariables, browser.loadVariables, browser.openVariables])
      await expect(work(path, new Map())).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});
