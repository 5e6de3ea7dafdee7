/** The programs in docs/attention.md and docs/optimizers.md type-check and run as they are printed. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = ["attention", "optimizers"].map((name) => readFileSync(join(root, `docs/${name}.md`), "utf8")).join("\n");
const programs = new Map([...text.matchAll(/^```ts (\w+)\n(.*?)^```$/gms)].map(([, name = "", program = ""]) => [name, program]));

let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "optimizers-"));
  for (const [name, program] of programs) writeFileSync(join(folder, `${name}.ts`), program);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...parameters: string[]) => execFileSync(process.execPath, parameters, { cwd: folder, encoding: "utf8" });

it("type-check", () => {
  expect([...programs.keys()]).toEqual(["cross", "muon"]);
  expect(run(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
});

it("give what they say", () => {
  expect(run(...fromSource, "cross.ts")).toBe("1 × 1 × 16\n".repeat(3));
  const losses = run(...fromSource, "muon.ts")
    .trim()
    .split("\n")
    .map(Number);
  expect(losses).toHaveLength(5);
  expect(losses.at(-1)).toBeLessThan(losses[0] as number);
});
