import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openTokenFile } from "../data/index.js";
import { loadTokenizer } from "../tokenizer/index.js";
import { silentReporter } from "../train/reporter.js";
import { RunDirectory } from "./directory.node.js";
import { type RecipeInput, runTraining } from "./index.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-run-data-"));
  vi.stubEnv("TSUMIKI_CACHE", join(folder, "cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const at = (name: string) => join(folder, name);
const lines = (...rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const poems = Array.from({ length: 60 }, (_, i) => ({ text: `the whale ${i} ${"swims and ".repeat(i % 7)}sleeps` }));

const recipe = (
  data: RecipeInput["data"] & object,
  tokenizer: RecipeInput["tokenizer"] & object = { model: "character" },
): RecipeInput => ({
  data,
  tokenizer,
  model: { architecture: "llama", hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 },
  training: { steps: 4, batchSize: 2, context: 32, learningRate: 1e-2, seed: 5 },
  samples: { maxTokens: 0 },
  engine: { threads: 2 },
});

async function run(data: RecipeInput["data"] & object, name = "run", tokenizer?: RecipeInput["tokenizer"] & object) {
  const messages: string[] = [];
  const reporter = { ...silentReporter, message: (text: string) => void messages.push(text) };
  const result = await runTraining(recipe(data, tokenizer), { directory: at(name), reporter, overwrite: true });
  return { ...result, messages: messages.join("\n") };
}

describe("a run", () => {
  it.each(["windows", "bestFit", "padded"] as const)(
    "learns from documents of several files, packed as %s, each ended by a token",
    async (packing) => {
      await writeFile(at("a.jsonl.gz"), gzipSync(lines(...poems.slice(0, 30))));
      await writeFile(
        at("b.csv"),
        `text\n${poems
          .slice(30)
          .map(({ text }) => text)
          .join("\n")}\n`,
      );
      const { steps, validation, messages } = await run({ files: [at("*.{gz,csv}")], packing });
      expect(steps).toBe(4);
      expect(validation?.loss).toBeGreaterThan(0);
      expect(messages).toContain("60 documents, ");
      expect((await loadTokenizer(at("run"))).specialTokens).toEqual(["<|endoftext|>"]);
    },
  );

  it("leaves bad rows and filtered ones out when it is told to, and says which", async () => {
    await writeFile(at("a.jsonl"), lines(...poems, { text: "" }, poems[3], { text: "no" }));
    await expect(run({ files: [at("a.jsonl")] })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/line 61, field text: is empty.*--on-bad-row skip/),
    });
    const filters = [{ filter: "length", minimum: 5 }, { filter: "exact-duplicates" }] as const;
    const { messages } = await run({ files: [at("a.jsonl")], onBadRow: "skip", filters: [...filters] });
    expect(messages).toMatch(/1 bad row was left out:\n {2}.*a\.jsonl, line 61, field text: is empty/);
    expect(messages).toMatch(/length: 1 of 62 dropped/);
    expect(messages).toMatch(/exact-duplicates: 1 of 61 dropped/);
    expect(messages).toContain("60 documents, ");

    // The tokens are found now, under other names too, and what they lack is told again.
    const again = await run({ files: [at("a.jsonl")], onBadRow: "skip", filters: [...filters] });
    expect(again.messages).toBe(messages);
    await rename(at("a.jsonl"), at("b.jsonl"));
    const renamed = await run({ files: [at("b.jsonl")], onBadRow: "skip", filters: [...filters] });
    expect(renamed.messages).toBe(messages.replaceAll("a.jsonl", "b.jsonl"));
    expect(await readdir(at("cache/tokens"))).toHaveLength(1);
  });

  it("finds tokens again by what filters do, not by how that was said", async () => {
    await writeFile(at("a.jsonl"), lines(...poems));
    const filtered = async (filters: RecipeInput["data"] & object) => {
      await run({ files: [at("a.jsonl")], ...filters });
      return (await readdir(at("cache/tokens"))).length;
    };
    expect(await filtered({ filters: [{ filter: "near-duplicates" }, { filter: "length" }] })).toBe(1);
    // Defaults that are written down, in another order of their keys.
    const written = [
      { shingle: 5, threshold: 0.7, hashes: 128, filter: "near-duplicates" as const },
      { filter: "length" as const, minimum: 1 },
    ];
    expect(await filtered({ filters: written })).toBe(1);
    expect(await filtered({ filters: [{ filter: "near-duplicates", threshold: 0.8 }, { filter: "length" }] })).toBe(2);
    expect(await filtered({ filters: [{ filter: "length" }, { filter: "near-duplicates" }] })).toBe(3);
    expect(await filtered({})).toBe(4);
  });

  it.each([
    [{ model: "wordpiece", vocabSize: 60 }, "WordPiece", "<|endoftext|>"],
    [{ model: "unigram", preset: "t5", vocabSize: 60 }, "Unigram", "</s>"],
    [{ preset: "llama3", vocabSize: 300 }, "BPE", "<|end_of_text|>"],
  ] as const)("learns the tokenizer that it is told to: %j", async (tokenizer, model, end) => {
    await writeFile(at("a.jsonl"), lines(...poems));
    const { validation } = await run({ files: [at("a.jsonl")] }, "run", tokenizer);
    expect(validation?.loss).toBeGreaterThan(0);
    const made = await loadTokenizer(at("run"));
    expect(made.toJSON().model.type).toBe(model);
    const [name = ""] = await readdir(at("cache/tokens"));
    using tokens = await openTokenFile(join(at("cache/tokens"), name), made);
    expect(made.idToToken(tokens.separator as number)).toBe(end);
    expect(tokens.starts).toHaveLength(poems.length + 1);
  });

  it("takes a tokenizer that is there, and refuses rows that were skipped before when it is told to stop", async () => {
    await writeFile(at("a.jsonl"), lines(...poems, { text: "" }));
    await run({ files: [at("a.jsonl")], onBadRow: "skip" }, "first", { model: "bpe", vocabSize: 300 });
    const saved = { model: "saved", folder: at("first") } as const;
    const { messages } = await run({ files: [at("a.jsonl")], onBadRow: "skip" }, "second", saved);
    expect(messages).toContain("1 bad row was left out");
    expect(messages).toContain(`tokenizer  ${at("first")}, 300 tokens`);
    expect((await loadTokenizer(at("second"))).toJSON()).toEqual((await loadTokenizer(at("first"))).toJSON());
    expect(await readdir(at("cache/tokens"))).toHaveLength(1);
    await expect(run({ files: [at("a.jsonl")] }, "third", saved)).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/a\.jsonl, line 61, field text: is empty/),
    });
    await expect(run({ files: [at("a.jsonl")] }, "third", { model: "saved", folder: at("none") })).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringMatching(/no tokenizer at/),
    });
  });

  it("says what was left out where nothing else is left", async () => {
    await writeFile(at("a.jsonl"), lines({ text: "" }, { text: 5 }));
    const messages: string[] = [];
    const reporter = { ...silentReporter, message: (text: string) => void messages.push(text) };
    const training = runTraining(recipe({ files: [at("a.jsonl")], onBadRow: "skip" }), { directory: at("run"), reporter });
    await expect(training).rejects.toMatchObject({ code: "DATA", message: expect.stringMatching(/is empty/) });
    expect(messages.join("\n")).toMatch(/2 bad rows were left out:[\s\S]*line 2, field text: is 5/);
  });

  it("does not find tokens of a file that was read as another kind", async () => {
    await writeFile(at("a.jsonl"), lines(...poems));
    await run({ files: [at("a.jsonl")] });
    await rename(at("a.jsonl"), at("a.txt"));
    const { messages } = await run({ files: [at("a.txt")] });
    expect(messages).not.toContain("documents");
    expect(await readdir(at("cache/tokens"))).toHaveLength(2);
  });

  it("goes on to the same losses, with the tokens that are kept", async () => {
    await writeFile(at("a.jsonl"), lines(...poems));
    const data: RecipeInput["data"] & object = { files: [at("a.jsonl")], packing: "bestFit" };
    await run(data, "whole");
    const stop = new AbortController();
    await runTraining(recipe(data), {
      directory: at("parts"),
      signal: stop.signal,
      reporter: { ...silentReporter, step: ({ step }) => step === 2 && stop.abort() },
    });
    await runTraining(undefined, { directory: at("parts"), resume: true });
    const losses = async (name: string) =>
      (await (await RunDirectory.open(at(name))).metrics()).map((row) => [row.step, "loss" in row ? row.loss : undefined]);
    expect(await losses("parts")).toEqual(await losses("whole"));
    expect(await readdir(at("cache/tokens"))).toHaveLength(1);
    await writeFile(at("a.jsonl"), lines(...poems, { text: "more" }));
    await expect(runTraining(undefined, { directory: at("parts"), resume: true })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/has changed/),
    });
  });

  it("refuses conversations, and names the field that would help", async () => {
    await writeFile(
      at("a.jsonl"),
      lines({
        messages: [
          { role: "user", content: "a" },
          { role: "assistant", content: "b" },
        ],
      }),
    );
    await expect(run({ files: [at("a.jsonl")] })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/kind "conversation".*--text-field/),
    });
  });

  it("names filters and their keys that are wrong", async () => {
    const wrong = recipe({ files: ["a"], filters: [{ filter: "length", minimun: 3 } as never, { filter: "gopher" } as never] });
    await expect(runTraining(wrong, { directory: at("run") })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(
        /data\.filters\.0\.minimun: there is no such key; there are filter, minimum, maximum[\s\S]*data\.filters\.1/,
      ),
    });
  });
});
