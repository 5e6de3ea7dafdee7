/** The programs in docs/chat-templates.md and docs/corpora.md type-check as they are printed, and run where they fetch little. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";
import { chatTemplates } from "../src/chat/index.js";
import { corpora } from "../src/data/index.js";
import { trainTokenizer } from "../src/tokenizer/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const programsOf = (document: string) =>
  [...readFileSync(join(root, "docs", document), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, program]) => program ?? "");
const [chat = ""] = programsOf("chat-templates.md");
const [rows = "", images = ""] = programsOf("corpora.md");

let folder: string;
beforeAll(async () => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "docs-"));
  for (const [name, program] of Object.entries({ chat, rows, images })) writeFileSync(join(folder, `${name}.ts`), program);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
  const specialTokens = ["<|im_start|>", "<|im_end|>"];
  const tokenizer = await trainTokenizer(chatTemplates.qwen3, { model: "bpe", vocabSize: 300, specialTokens });
  await tokenizer.save(join(folder, "my-model"));
  writeFileSync(join(folder, "my-model", "chat_template.jinja"), chatTemplates.qwen3);
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...parameters: string[]) => execFileSync(process.execPath, parameters, { cwd: folder, encoding: "utf8" });

describe("programs", () => {
  it("type-check", () => {
    expect(run(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
  });

  it.each([
    [
      "chat",
      /<think>\nTwo and two are four\.\n<\/think>\n\n4<\|im_end\|>\n true <\|im_start\|>user\nWhat is 2 \+ 2\?<\|im_end\|>/,
    ],
    ["rows", /^1\d{6} \S.* (animation|literature) AGPL-3\.0/],
  ])("%s runs", (name, output) => {
    expect(run(...fromSource, `${name}.ts`)).toMatch(output);
  });
});

it("docs/corpora.md lists every corpus", () => {
  const text = readFileSync(join(root, "docs/corpora.md"), "utf8");
  for (const { name, license } of Object.values(corpora))
    expect(text).toMatch(new RegExp(`^\\| \`${name}\` .* ${license} \\|$`, "m"));
});
