/** The program in docs/data.md, type-checked and run as it is printed there, on a few files. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(root, "docs/data.md"), "utf8"))?.[1] ?? "";

// Inside the repository, from where the package's own name leads to `src/`.
let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "data-"));
  mkdirSync(join(folder, "data"));
  const texts = Array.from({ length: 40 }, (_, i) => `The whale number ${i} swims to island ${i * i}, and sleeps there.`);
  const rows = [...texts, "", texts[3], "again and ".repeat(30)].map((text) => `${JSON.stringify({ text })}\n`);
  writeFileSync(join(folder, "data", "a.jsonl"), rows.slice(0, 20).join(""));
  writeFileSync(join(folder, "data", "b.jsonl"), rows.slice(20).join(""));
  writeFileSync(join(folder, "program.ts"), program);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const node = (...parameters: string[]) => execFileSync(process.execPath, parameters, { cwd: folder, encoding: "utf8" });

it("type-checks", () => {
  node(join(root, "node_modules/typescript/bin/tsc"), "-p", folder);
});

it("reads, filters, encodes and packs", () => {
  expect(node(...fromSource, "program.ts")).toMatch(/^1 \[ 'exact-duplicates: 1', 'gopher-repetition: 1' \] \d+\n$/);
});
