import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readSafetensors } from "../../checkpoint/safetensors.node.js";
import { type Tokenizer, trainTokenizer } from "../../tokenizer/index.js";
import type { TextExample } from "../example.js";
import type { ReadingReport } from "../reading-report.js";
import { cachedTokens, contentHash, type TokenCacheOptions } from "./token-cache.node.js";
import { encodeDocuments, type TokenDocuments } from "./token-documents.js";
import { openTokenFile, tokenFileWriter } from "./token-file.node.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-tokens-"));
});
afterEach(() => rm(folder, { recursive: true }));

const words = "the whale swims, the ship sails; 鲸鱼 游泳 🐳 and the sea is deep\n".repeat(20);
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await trainTokenizer(words, { model: "bpe", vocabSize: 300, specialTokens: ["<|endoftext|>"] });
});

const examples = (texts: readonly string[]) =>
  async function* (): AsyncGenerator<TextExample> {
    for (const text of texts) yield { kind: "text", text };
  };

const options = (more: Partial<TokenCacheOptions> = {}): TokenCacheOptions => ({ folder, content: "c", workers: 1, ...more });

/** All that can be read from documents. */
function contentOf({ starts, read, separator, textBytes }: TokenDocuments) {
  return { starts: [...starts], tokens: [...read(0, starts.at(-1) as number)], separator, textBytes };
}

describe("cachedTokens", () => {
  it("holds what encoding in memory gives, in any slice", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom("the ", "whale", "鲸", "🐳", "\n", "x"), minLength: 1 }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.constantFrom(undefined, "<|endoftext|>"),
        fc.nat(),
        fc.nat(),
        async (texts, separator, a, b) => {
          const given = separator === undefined ? {} : { separator };
          using file = await cachedTokens(examples(texts), tokenizer, options({ ...given, content: JSON.stringify(texts) }));
          const inMemory = encodeDocuments(texts, tokenizer, given);
          expect(contentOf(file)).toEqual(contentOf(inMemory));
          const total = (file.starts.at(-1) as number) + 1;
          const [from, to] = [a % total, b % total].sort((x, y) => x - y) as [number, number];
          expect(file.read(from, to)).toEqual(inMemory.read(from, to));
          expect(file.readLossMask(from, to)).toBeUndefined();
        },
      ),
      { numRuns: 20 },
    );
  });

  it("is the same from several threads, in the order of the documents", async () => {
    const texts = Array.from({ length: 300 }, (_, i) => `${i}: ${words.repeat(1 + (i % 17))}`);
    const progress: number[] = [];
    using parallel = await cachedTokens(
      examples(texts),
      tokenizer,
      options({ workers: 2, onProgress: ({ textBytes }) => progress.push(textBytes) }),
    );
    const inMemory = encodeDocuments(texts, tokenizer);
    expect(contentOf(parallel)).toEqual(contentOf(inMemory));
    expect(progress.length).toBeGreaterThan(2);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(inMemory.textBytes);
  });

  it("joins the pieces of a long document", async () => {
    const pieces: TextExample[] = [
      { kind: "text", text: "the whale\n", continues: true },
      { kind: "text", text: "the ship" },
      { kind: "text", text: "the sea" },
    ];
    const read = async function* () {
      yield* pieces;
    };
    using file = await cachedTokens(read, tokenizer, options({ separator: "<|endoftext|>" }));
    expect(contentOf(file)).toEqual(
      contentOf(encodeDocuments(["the whale\nthe ship", "the sea"], tokenizer, { separator: "<|endoftext|>" })),
    );
  });

  it("is made once for the same content, tokenizer and separator, and again for others", async () => {
    let read = 0;
    const texts = () => {
      read++;
      return examples(["the whale"])();
    };
    const other = await trainTokenizer(words, { model: "bpe", vocabSize: 290, specialTokens: ["<|endoftext|>"] });
    (await cachedTokens(texts, tokenizer, options()))[Symbol.dispose]();
    (await cachedTokens(texts, tokenizer, options()))[Symbol.dispose]();
    expect(read).toBe(1);
    (await cachedTokens(texts, tokenizer, options({ content: "d" })))[Symbol.dispose]();
    (await cachedTokens(texts, tokenizer, options({ separator: "<|endoftext|>" })))[Symbol.dispose]();
    (await cachedTokens(texts, other, options()))[Symbol.dispose]();
    expect(read).toBe(4);
    expect(await readdir(folder)).toHaveLength(4);
  });

  it("keeps what was left out, and tells it again when the tokens are found", async () => {
    const report: ReadingReport = {
      files: ["a.jsonl"],
      badRows: { count: 2, listed: [{ file: "a.jsonl", row: 3, line: 4, field: "text", problem: 'is "\ud83d", or 鲸' }] },
      filters: [
        {
          filter: "length",
          seen: 5,
          dropped: 2,
          reasons: new Map([["too short", 2]]),
          samples: [{ reason: "too short", excerpt: "no" }],
        },
      ],
    };
    let told = 0;
    const make = (more: Partial<TokenCacheOptions> = {}) => cachedTokens(examples(["the whale"]), tokenizer, options(more));
    const toldOnce = { report: () => ({ ...report, badRows: { ...report.badRows, count: ++told + 1 } }) };
    using made = await make(toldOnce);
    using found = await make(toldOnce);
    expect(told).toBe(1);
    expect(made.report).toEqual(report);
    expect(found.report).toEqual(report);
    using plain = await make({ content: "d" });
    expect(plain.report).toEqual({ files: [], badRows: { count: 0, listed: [] }, filters: [] });
  });

  it("is made anew where a file has no report of what was left out", async () => {
    const make = () => cachedTokens(examples(["the whale swims"]), tokenizer, options());
    const first = await make();
    first[Symbol.dispose]();
    await using writer = await tokenFileWriter(first.path, tokenizer.vocabSize);
    await writer.append(Int32Array.of(1));
    writer.addDocument(1);
    await writer.finish({ key: first.key, textBytes: 1, separator: undefined });
    using second = await make();
    expect(second.starts).toEqual(first.starts);
    expect(second.report).toBeDefined();
  });

  it("is made anew when the file is damaged", async () => {
    const make = () => cachedTokens(examples(["the whale swims"]), tokenizer, options());
    const first = await make();
    const content = contentOf(first);
    first[Symbol.dispose]();
    await truncate(first.path, (await readFile(first.path)).length - 3);
    using second = await make();
    expect(contentOf(second)).toEqual(content);
  });

  it("leaves nothing behind when it fails: an error while reading, a signal, nothing to read", async () => {
    const failing = async function* (): AsyncGenerator<TextExample> {
      yield { kind: "text", text: "the whale" };
      throw new Error("the disk is gone");
    };
    await expect(cachedTokens(failing, tokenizer, options())).rejects.toThrow("the disk is gone");
    const stopped = options({ signal: AbortSignal.abort() });
    await expect(cachedTokens(examples(["the whale"]), tokenizer, stopped)).rejects.toMatchObject({ code: "ABORTED" });
    await expect(cachedTokens(examples([]), tokenizer, options())).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/no documents/),
    });
    const file = join(folder, "a-file");
    await writeFile(file, "");
    await expect(cachedTokens(examples(["a"]), tokenizer, options({ folder: join(file, "inner") }))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/cannot be kept in .*TSUMIKI_CACHE/),
    });
    expect(await readdir(folder)).toEqual(["a-file"]);
  });

  it("passes on what a tokenizer cannot encode, from other threads too", async () => {
    const characters = await trainTokenizer(words, { model: "character" });
    const texts = Array.from({ length: 100 }, () => words.repeat(9));
    texts[99] = "the ☠";
    for (const workers of [1, 2])
      await expect(cachedTokens(examples(texts), characters, options({ workers })), `${workers}`).rejects.toMatchObject({
        code: "TOKENIZER",
        message: expect.stringMatching(/☠/),
      });
  });
});

describe("a file of tokens", () => {
  it("holds ids in two bytes or four, and loss masks", async () => {
    const path = join(folder, "sub", "tokens.safetensors");
    for (const [vocabSize, dtype, largest] of [
      [65_536, "uint16", 65_535],
      [65_537, "int32", 65_536],
    ] as const) {
      await using writer = await tokenFileWriter(path, vocabSize);
      await writer.append(Int32Array.of(1, largest), Uint8Array.of(0, 1));
      writer.addDocument(3);
      await writer.append(Int32Array.of(2), Uint8Array.of(1));
      await writer.finish({ key: "k", textBytes: 9, separator: 2 });
      await using tensors = await readSafetensors(path);
      expect(tensors.tensors.get("tokens")?.dtype).toBe(dtype);
      using file = await openTokenFile(path, { ...tokenizer, vocabSize });
      expect(contentOf(file)).toEqual({ starts: [0, 3], tokens: [1, largest, 2], separator: 2, textBytes: 9 });
      expect(file.readLossMask(0, 3)).toEqual(Uint8Array.of(0, 1, 1));
      expect(await readdir(join(folder, "sub"))).toEqual(["tokens.safetensors"]);
    }
    await expect(openTokenFile(path, tokenizer)).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/larger vocabulary/),
    });
  });

  it("is not read after it was closed, nor when it is something else", async () => {
    const file = await cachedTokens(examples(["the whale"]), tokenizer, options());
    file[Symbol.dispose]();
    expect(() => file.read(0, 1)).toThrow(expect.objectContaining({ code: "RELEASED" }));
    await writeFile(join(folder, "other"), "no tensors");
    await expect(openTokenFile(join(folder, "other"), tokenizer)).rejects.toMatchObject({ code: "CHECKPOINT" });
  });
});

describe("contentHash", () => {
  it("changes with the content, the order and the options, and not with the names", async () => {
    const write = async (name: string, content: string) => {
      await writeFile(join(folder, name), content);
      return join(folder, name);
    };
    const [a, b, c] = [await write("a", "1"), await write("b", "2"), await write("c", "1")];
    const whole = await contentHash([a, b], { textField: "text" });
    expect(await contentHash([c, b], { textField: "text" })).toBe(whole);
    for (const other of [
      contentHash([b, a], { textField: "text" }),
      contentHash([a, b]),
      contentHash([a]),
      contentHash([a, await write("b", "3")], { textField: "text" }),
    ])
      expect(await other).not.toBe(whole);
    await expect(contentHash([join(folder, "absent")])).rejects.toMatchObject({ code: "DATA" });
  });
});
