import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chatTemplate } from "../chat/index.js";
import { inspectData } from "../data/inspect.node.js";
import { describe as describeInspection } from "./data-inspect.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-inspect-"));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const lines = (...rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

const chat = {
  messages: [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello 🐳" },
  ],
};

describe("what is shown", () => {
  it("marks what a model learns to say, in each kind of example", async () => {
    const shown = async (...rows: readonly unknown[]) => {
      await writeFile(at("a.jsonl"), lines(...rows));
      return describeInspection(await inspectData([at("a.jsonl")]), "characters").join("\n");
    };
    expect(await shown({ text: "Call me Ishmael." })).toContain("⟦Call me Ishmael.⟧");
    expect(await shown(chat)).toContain("user: Hi\nassistant: ⟦Hello 🐳⟧");
    expect(await shown({ prompt: "2 + 2?", chosen: "4", rejected: "5" })).toContain(
      "user: 2 + 2?\nchosen:\nassistant: ⟦4⟧\nrejected:\nassistant: 5",
    );
    expect(await shown({ text: "Good!", label: "praise" })).toContain("Good!\n⟦praise⟧");
    expect(await shown({ tokens: ["The", "whale"], tags: ["DET", "NOUN"] })).toContain("The/⟦DET⟧ whale/⟦NOUN⟧");
  });

  it("shows what a template refuses, instead of ending there", async () => {
    await writeFile(at("a.jsonl"), lines(chat, chat));
    const strict = chatTemplate("{{ raise_exception('only prose') }}");
    const shown = describeInspection(await inspectData([at("a.jsonl")]), "characters", strict).join("\n");
    expect(shown.match(/\(not rendered\) .*the chat template refuses it: only prose/g)).toHaveLength(2);
  });

  it("lists bad rows, and says so when there is nothing good", async () => {
    await writeFile(at("a.jsonl"), lines({ a: 1 }, { text: "" }));
    const shown = describeInspection(await inspectData([at("a.jsonl")]), "characters").join("\n");
    expect(shown).toMatch(/no good row, 0 rows, 2 bad[\s\S]*line 2, field text: is empty/);
  });
});
