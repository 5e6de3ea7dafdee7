import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLlamaCpp } from "../../test/peers/llama-cpp.js";
import { modelFromConfig } from "../models/index.js";
import { type Tokenizer, tokenizerFromJson, trainTokenizer } from "../tokenizer/index.js";
import type { TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { exportGguf, importGguf } from "./index.js";
import { ggufTokenizer, tokenizerFromGguf } from "./tokenizer.js";

interface Golden {
  readonly texts: readonly string[];
  readonly tokenizers: Readonly<
    Record<"llama" | "gemma" | "t5", { readonly tokenizer: TokenizerJson; readonly ids: readonly number[][] }>
  >;
}

/** Trained by SentencePiece, and brought to tokenizer.json by Python's transformers: reference/sentencepiece_tokenizers.py. */
const golden = JSON.parse(
  await readFile(new URL("../../reference/golden/sentencepiece-tokenizers.json", import.meta.url), "utf8"),
) as Golden;
const configs = {
  llama: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  gemma: { bos_token: "<bos>", eos_token: "<eos>", pad_token: "<pad>", unk_token: "<unk>" },
  t5: { eos_token: "</s>", pad_token: "<pad>", unk_token: "<unk>" },
} as const;
const names = ["llama", "gemma", "t5"] as const;
/** Whether a text is put between tokens. */
const around = { llama: [true, false], gemma: [true, false], t5: [false, true] } as const;
const vocabSize = 448;
const tokenizerOf = (name: (typeof names)[number]): Tokenizer =>
  tokenizerFromJson(golden.tokenizers[name].tokenizer, configs[name]);
const idsOf = (tokenizer: Tokenizer | undefined): number[][] => golden.texts.map((text) => [...(tokenizer?.encode(text) ?? [])]);

const mark = { type: "Replace", pattern: { String: " " }, content: "▁" };
const [rules] = (golden.tokenizers.t5.tokenizer.normalizer as unknown as { normalizers: object[] }).normalizers as [object];
const metaspace = golden.tokenizers.t5.tokenizer.pre_tokenizer;
/** Ways to treat texts that a GGUF file can say, besides transformers' own. */
const unigramForms: Readonly<Record<string, object>> = {
  "words cut at white space": {
    normalizer: rules,
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, metaspace] },
  },
  "all spaces": { normalizer: { type: "Sequence", normalizers: [rules, mark] }, pre_tokenizer: null },
  "all spaces, one more before them and no rules": {
    normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, mark] },
    pre_tokenizer: null,
  },
};
const unigram = (parts: object): Tokenizer => tokenizerFromJson({ ...golden.tokenizers.t5.tokenizer, ...parts }, configs.t5);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-gguf-tokenizer-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function exported(tokenizer: Tokenizer): Promise<string> {
  const sizes = { hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2 };
  const path = join(folder, "model.gguf");
  await exportGguf(modelFromConfig({ model_type: "llama", vocab_size: vocabSize, ...sizes }), tokenizer, path);
  return path;
}

describe.each(names)("SentencePiece's tokenizer of %s", (name) => {
  it("comes back from a file: ids, texts and special tokens", async () => {
    const tokenizer = tokenizerOf(name);
    expect(idsOf(tokenizer)).toEqual(golden.tokenizers[name].ids);
    const { tokenizer: imported } = await importGguf(await exported(tokenizer));
    expect(idsOf(imported)).toEqual(golden.tokenizers[name].ids);
    for (const ids of golden.tokenizers[name].ids) expect(imported?.decode(ids)).toBe(tokenizer.decode(ids));
    const [addBos, addEos] = around[name];
    expect(imported?.config).toMatchObject({ ...configs[name], add_bos_token: addBos, add_eos_token: addEos });
    expect(imported?.tokenize("I thought").ids).toEqual(tokenizer.tokenize("I thought").ids);
    expect(imported?.specialTokens).toEqual(tokenizer.specialTokens);
  });
});

it.each(["llama", "gemma"] as const)("the merges of %s, which are not in the file, are there again", (name) => {
  const { merges } = tokenizerFromGguf(ggufTokenizer(tokenizerOf(name), vocabSize), "").toJSON().model;
  expect(merges).toEqual(golden.tokenizers[name].tokenizer.model.merges);
});

it("the Unigram of T5 comes back as it was", () => {
  const { normalizer, pre_tokenizer, decoder, model } = tokenizerFromGguf(ggufTokenizer(tokenizerOf("t5"), 142), "").toJSON();
  const { tokenizer } = golden.tokenizers.t5;
  expect({ normalizer, pre_tokenizer, decoder }).toEqual(
    Object.fromEntries(["normalizer", "pre_tokenizer", "decoder"].map((key) => [key, tokenizer[key]])),
  );
  expect(model.vocab).toEqual(tokenizer.model.vocab);
});

const llamaCpp = await findLlamaCpp();
const absent = "absent" in llamaCpp ? llamaCpp.absent : undefined;

describe.skipIf(absent !== undefined)(`llama.cpp${absent === undefined ? "" : ` (${absent})`}`, () => {
  interface Theirs {
    readonly addBos: boolean;
    readonly results: readonly { readonly ids: number[] }[];
  }
  const theirs = async (tokenizer: Tokenizer, texts: readonly string[]): Promise<Theirs> => {
    const script = fileURLToPath(new URL("../../test/peers/llama-cpp-tokenize.mjs", import.meta.url));
    const url = "url" in llamaCpp ? llamaCpp.url : "";
    const parameters = [script, url, await exported(tokenizer), JSON.stringify(texts)];
    const { stdout } = await promisify(execFile)(process.execPath, parameters);
    return JSON.parse(stdout.trim().split("\n").at(-1) as string) as Theirs;
  };

  it.each(names)("makes the same ids with the tokenizer of %s", async (name) => {
    const { addBos, results } = await theirs(tokenizerOf(name), golden.texts);
    expect(addBos).toBe(around[name][0]);
    expect(results.map(({ ids }) => ids)).toEqual(golden.tokenizers[name].ids);
  });

  it.each(Object.keys(unigramForms))("makes the same ids with a Unigram that has %s", async (name) => {
    const tokenizer = unigram(unigramForms[name] as object);
    const texts = [...golden.texts, "  two  before", "two behind  ", "<extra_id_0> and </s> and"];
    const { results } = await theirs(tokenizer, texts);
    // Its special tokens are texts to llama.cpp unless it is told otherwise.
    expect(results.slice(0, -1).map(({ ids }) => ids)).toEqual(texts.slice(0, -1).map((text) => [...tokenizer.encode(text)]));
    const { tokenizer: imported } = await importGguf(join(folder, "model.gguf"));
    expect(texts.map((text) => [...(imported?.encode(text) ?? [])])).toEqual(texts.map((text) => [...tokenizer.encode(text)]));
  });

  const splitting =
    "It's 12345.67 (or $89+1) at 7:30 — naïve café, 你好!\n\n  def f(x):\n\treturn x**2  # we'll   see `this` <b>^~|";
  it.each(["gpt-2", "llama-bpe", "qwen2", "smollm", "default"])("splits texts as here: %s", async (pre) => {
    const plain = await trainTokenizer(splitting.repeat(4), { model: "bpe", vocabSize: 330, specialTokens: ["<|endoftext|>"] });
    const tokenizer = tokenizerFromGguf({ ...ggufTokenizer(plain, 330), pre }, "");
    expect(ggufTokenizer(tokenizer, 330).pre).toBe(pre);
    const { results } = await theirs(tokenizer, [splitting]);
    expect(results[0]?.ids).toEqual([...tokenizer.encode(splitting)]);
  });
});

it("takes the chat template for all purposes with it", () => {
  const templates = [
    { name: "tool_use", template: "{{ tools }}" },
    { name: "default", template: "{{ messages }}" },
  ];
  for (const chat_template of [templates, "{{ messages }}"]) {
    const tokenizer = tokenizerFromJson(golden.tokenizers.llama.tokenizer, { ...configs.llama, chat_template });
    const imported = tokenizerFromGguf(ggufTokenizer(tokenizer, vocabSize), "");
    expect(imported.config).toMatchObject({ chat_template: "{{ messages }}" });
  }
});

it("whose merges scores cannot tell is refused", () => {
  const json = structuredClone(golden.tokenizers.llama.tokenizer);
  const refused = (merges: unknown[]) => () =>
    ggufTokenizer(tokenizerFromJson({ ...json, model: { ...json.model, merges } }, configs.llama), vocabSize);
  const merges = json.model.merges as unknown[];
  const pairs = merges as [string, string][];
  const several = pairs.findIndex(([a, b], i) => pairs[i + 1]?.join("") === a + b);
  expect(refused(merges.toSpliced(several, 1))).toThrow(/not all pairs of tokens that make .* are among its merges/);
  expect(refused([...merges.toSpliced(several, 1), merges[several]])).toThrow(/have others between them/);
});

it("that GGUF has no words for is refused", () => {
  const refused =
    (parts: object, of: "llama" | "t5" = "t5") =>
    () =>
      ggufTokenizer(tokenizerFromJson({ ...golden.tokenizers[of].tokenizer, ...parts }, configs[of]), vocabSize);
  const first = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
  expect(refused({ normalizer: null, pre_tokenizer: first }, "llama")).toThrow(/prepend_scheme is "first".* set it to "always"/s);
  expect(refused({ normalizer: null })).toThrow(/texts are rewritten or split in another way/);
  expect(refused({ pre_tokenizer: { ...metaspace, prepend_scheme: "first" } })).toThrow(/texts are rewritten or split/);
  const { model } = golden.tokenizers.t5.tokenizer;
  expect(refused({ model: { ...model, vocab: [...(model.vocab as unknown[]), ["▁I▁would", -3]] } })).toThrow(/reach over spaces/);
  const bytes = Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, -9]);
  expect(refused({ model: { ...model, byte_fallback: true, vocab: [...(model.vocab as unknown[]), ...bytes] } })).toThrow(
    /has bytes for what it does not know/,
  );
});
