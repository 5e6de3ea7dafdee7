import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { corpora, corpus } from "../../data/index.js";
import { runProgram } from "../program.js";
import * as data from "./data.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-data-"));
  vi.stubEnv("TSUMIKI_CACHE", join(folder, "cache"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function run(...parameters: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err]: [string[], string[]] = [[], []];
  vi.spyOn(console, "log").mockImplementation((text: string) => void out.push(text));
  vi.spyOn(console, "error").mockImplementation((text: string) => void err.push(text));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => err.push(String(text)) > 0);
  const code = await runProgram(["data", ...parameters], [data]);
  return { code, out: out.join("\n"), err: err.join("\n") };
}

it("lists every corpus with its size, licence and source", async () => {
  const { code, out } = await run("list");
  expect(code).toBe(0);
  for (const { name, license, source, package: from } of Object.values(corpora))
    for (const fact of [name, license, source, from]) expect(out).toContain(fact);
  expect(JSON.parse((await run("list", "--json")).out)).toEqual(Object.values(corpora));
});

it("fetches one, says how far it is, and prints where it is kept", async () => {
  const { code, out, err } = await run("fetch", "icons");
  expect(code).toBe(0);
  expect(err).toMatch(/icons: .* of 0\.09 MB/);
  const rows = (await readFile(out, "utf8")).trimEnd().split("\n");
  expect(rows).toHaveLength((await corpus("icons")).length);
  expect(JSON.parse(rows[0] as string)).toMatchObject({ text: expect.any(String), svg: expect.stringContaining("<svg") });
  const copy = join(folder, "new", "icons.jsonl");
  expect((await run("fetch", "icons", "--out", copy)).out).toBe(copy);
  expect(await readFile(copy)).toEqual(await readFile(out));
});

it("refuses a name that is not there, and a place that cannot be written", async () => {
  expect(await run("fetch", "hobby-dick")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/no corpus "hobby-dick".*moby-dick/),
  });
  await writeFile(join(folder, "file"), "");
  const blocked = await run("fetch", "icons", "--out", join(folder, "file", "icons.jsonl"));
  expect(blocked).toMatchObject({ code: 1, err: expect.stringMatching(/cannot be written/) });
});
