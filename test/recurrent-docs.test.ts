/** The programs in docs/recurrent.md type-check as they are printed, and run with fewer steps. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = readFileSync(join(root, "docs/recurrent.md"), "utf8");
const programs = new Map([...text.matchAll(/^```ts (\w+)\n(.*?)^```$/gms)].map(([, name = "", program = ""]) => [name, program]));

/** All that is changed in what is printed. Each stands there once. */
const shorter: readonly [printed: string, here: string][] = [
  ["steps: 1000", "steps: 2"],
  ["hiddenSize: 256", "hiddenSize: 16"],
  ['corpus("moby-dick");', '(await corpus("moby-dick")).slice(0, 40_000);'],
  ["const steps = 1500;", "const steps = 24;"],
];

let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "recurrent-"));
  for (const [name, program] of programs) writeFileSync(join(folder, `${name}.ts`), program);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...parameters: string[]) => execFileSync(process.execPath, parameters, { cwd: folder, encoding: "utf8" });

describe("programs", () => {
  it("type-check", () => {
    expect([...programs.keys()]).toEqual(["characters", "births"]);
    expect(run(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
  });

  it.each(shorter)("%s is printed once", (printed) => expect(text.split(printed)).toHaveLength(2));

  it.each([
    ["characters", /^(after \d characters?: [1-6]\.\d\d bits a character\n){3}LSTM: [3-7]\.\d\d bits a character\n[\s\S]+/],
    [
      "births",
      /^last week: off by 447 births a day\nfour weeks: off by 440 births a day\n(autoregression|GRU): off by \d+ births a day\n/,
    ],
  ])("%s runs", (name, output) => {
    const program = shorter.reduce((result, [printed, here]) => result.replace(printed, here), programs.get(name) ?? "");
    writeFileSync(join(folder, `${name}.ts`), program);
    expect(run(...fromSource, `${name}.ts`)).toMatch(output);
  });
});
