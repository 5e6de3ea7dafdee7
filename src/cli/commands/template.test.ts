import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { chatTemplates } from "../../chat/index.js";
import { trainTokenizer } from "../../tokenizer/index.js";
import { runProgram } from "../program.js";
import * as template from "./template.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-template-"));
  const tokenizer = await trainTokenizer(chatTemplates.qwen3, {
    model: "bpe",
    vocabSize: 300,
    specialTokens: ["<|im_start|>", "<|im_end|>"],
  });
  await tokenizer.save(folder);
  await writeFile(join(folder, "chat_template.jinja"), chatTemplates.qwen3);
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const file = async (content: unknown): Promise<string> => {
  const path = join(folder, "conversation.json");
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
};

async function run(...parameters: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err]: [string[], string[]] = [[], []];
  vi.spyOn(console, "log").mockImplementation((text: string) => void out.push(text));
  vi.spyOn(console, "error").mockImplementation((text: string) => void err.push(text));
  const code = await runProgram(["template", ...parameters], [template]);
  return { code, out: out.join("\n"), err: err.join("\n") };
}

const conversation = [
  { role: "user", content: "Say 你好" },
  { role: "assistant", content: "你好 🐋" },
];

it("prints text, ids and mask as JSON", async () => {
  const { code, out } = await run(folder, await file(conversation), "--json");
  expect(code).toBe(0);
  const { text, ids, assistantMask } = JSON.parse(out);
  expect(text).toBe("<|im_start|>user\nSay 你好<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n你好 🐋<|im_end|>\n");
  expect(assistantMask).toHaveLength(ids.length);
  expect(new Set(assistantMask)).toEqual(new Set([0, 1]));
});

it("prints the text, in colour where that is wanted", async () => {
  const plain = await run(folder, await file({ messages: conversation }));
  expect(plain.out).toMatch(/^<\|im_start\|>user\nSay 你好/);
  vi.stubEnv("FORCE_COLOR", "1");
  const { out } = await run(folder, await file(conversation));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  const coloured = [...out.matchAll(/\u001b\[3[26]m(.*?)\u001b\[39m/gs)].map(([, piece]) => piece).join("");
  expect(coloured).toBe("<think>\n\n</think>\n\n你好 🐋<|im_end|>");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  expect(out.replace(/\u001b\[\d+m/g, "")).toBe(plain.out);
});

it("reads conversations as other data writes them", async () => {
  const { out } = await run(folder, await file({ messages: conversation }));
  const turns = [
    { from: "human", value: "Say 你好" },
    { from: "gpt", value: "你好 🐋" },
  ];
  expect((await run(folder, await file({ conversations: conversation }))).out).toBe(out);
  expect((await run(folder, await file({ conversations: turns }))).out).toBe(out);
  expect((await run(folder, await file({ instruction: "Say 你好", output: "你好 🐋" }))).out).toBe(out);
  expect((await run(folder, await file({ conversations: turns.slice(1) }))).err).toMatch(
    /conversation\.json, conversations\[0\]: the conversation starts with the assistant/,
  );
});

it("ends with the generation prompt, and passes on variables", async () => {
  const question = await file(conversation.slice(0, 1));
  const { out } = await run(folder, question, "--generation-prompt", "--variable", "enable_thinking=false");
  expect(out).toMatch(/<\|im_start\|>assistant\n<think>\n\n<\/think>\n\n$/);
});

it.each([
  ["a conversation without an answer", conversation.slice(0, 1), [], /conversation\.json, messages: there is no assistant/],
  ["an unknown role", [{ role: "gpt", content: "" }], [], /messages\[0\]\.role: the role "gpt" is unknown/],
  ["what is not JSON", "{", [], /conversation\.json is not JSON/],
  ["a variable without a value", conversation, ["--variable", "x"], /name=value/],
])("refuses %s", async (_, content, flags, message) => {
  const { code, err } = await run(folder, await file(content), ...flags);
  expect(code).toBe(1);
  expect(err).toMatch(message);
});
