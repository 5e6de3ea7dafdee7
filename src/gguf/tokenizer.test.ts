import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askLlamaCpp, findLlamaCpp } from "../../test/peers/llama-cpp.js";
import { modelFromConfig } from "../models/index.js";
import { type Tokenizer, tokenizerFromJson, trainTokenizer } from "../tokenizer/index.js";
import type { TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { splitCalled } from "./byte-level.js";
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
const oldMetaspace = { type: "Metaspace", replacement: "▁", add_prefix_space: true };
/** Ways to treat texts that a GGUF file can say, besides transformers' own. */
const unigramForms: Readonly<Record<string, object>> = {
  "words cut at white space": {
    normalizer: rules,
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, oldMetaspace] },
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

async function exported(tokenizer: Tokenizer, name = "model.gguf"): Promise<string> {
  const sizes = { hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2 };
  const path = join(folder, name);
  await exportGguf(
    modelFromConfig({ model_type: "llama", vocab_size: vocabSize, ...sizes }, undefined, "causal-lm"),
    tokenizer,
    path,
    {
      name: longName,
    },
  );
  return path;
}

const longName = "a name of a model that may become shorter";

/** A file with another name of its split; its own name makes up for the length, for tensors lie at places that depend on it. */
function splitRenamed(file: Buffer, from: string, to: string): Buffer {
  const string = (text: string) => Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(text.length)).buffer), Buffer.from(text)]);
  const replaced = (bytes: Buffer, key: string, before: string, after: string) => {
    const at = bytes.indexOf(string(before), bytes.indexOf(key));
    return Buffer.concat([bytes.subarray(0, at), string(after), bytes.subarray(at + string(before).length)]);
  };
  const length = longName.length - (to.length - from.length);
  const name = longName.slice(0, length).padEnd(length, ".");
  return replaced(replaced(file, "tokenizer.ggml.pre", from, to), "general.name", longName, name);
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
  const splitting =
    "It's 12345.67 (or $89+1) at 7:30 — naïve café, 你好!\n\n  def f(x):\n\treturn x**2  # we'll   see `this` <b>^~|";
  const texts = [...golden.texts, "  two  before", "two behind  ", splitting];
  const tokenizers = new Map<string, Tokenizer>([
    ...names.map((name) => [name, tokenizerOf(name)] as const),
    ...Object.entries(unigramForms).map(([name, form]) => [`a Unigram that has ${name}`, unigram(form)] as const),
  ]);
  const splits = ["gpt-2", "llama-bpe", "qwen2", "smollm", "default"];
  /** Other names of these, by which the files below are called. */
  const otherNames = [
    ...["phi-2", "olmo", "mpt", "llama3", "llama-v3", "falcon3", "deepseek-r1-qwen", "stablelm2"],
    ...["starcoder", "refact", "command-r"],
  ];
  /** Of all files in one process: starting it is what takes long. */
  let theirs: ReadonlyMap<string, { readonly addBos: boolean; readonly ids: readonly number[][] }>;
  beforeAll(async () => {
    const plain = await trainTokenizer(splitting.repeat(4), { model: "bpe", vocabSize: 330, specialTokens: ["<|endoftext|>"] });
    for (const pre of splits) tokenizers.set(pre, tokenizerFromGguf({ ...ggufTokenizer(plain, 330), pre }, ""));
    const paths: string[] = [];
    for (const tokenizer of tokenizers.values()) paths.push(await exported(tokenizer, `${paths.length}.gguf`));
    for (const name of otherNames) {
      const pre = splitCalled(name);
      const path = join(folder, `${paths.length}.gguf`);
      await writeFile(path, splitRenamed(await readFile(paths[[...tokenizers.keys()].indexOf(pre)] as string), pre, name));
      paths.push(path);
      tokenizers.set(name, tokenizers.get(pre) as Tokenizer);
    }
    const results = await askLlamaCpp<{ addBos: boolean; ids: number[][] }[]>(
      llamaCpp,
      "llama-cpp-tokenize.mjs",
      JSON.stringify(texts),
      ...paths,
    );
    theirs = new Map([...tokenizers.keys()].map((name, i) => [name, results[i] as (typeof results)[number]]));
  });

  it.each([...tokenizers.keys(), ...splits, ...otherNames])("makes the same ids with the tokenizer of %s", async (name) => {
    const tokenizer = tokenizers.get(name);
    expect(theirs.get(name)?.ids).toEqual(texts.map((text) => [...(tokenizer?.encode(text) ?? [])]));
    const { tokenizer: imported } = await importGguf(join(folder, `${[...tokenizers.keys()].indexOf(name)}.gguf`));
    for (const text of texts) expect(imported?.encode(text)).toEqual(tokenizer?.encode(text));
  });

  it.each(names)("begins texts as the tokenizer of %s does", (name) => {
    expect(theirs.get(name)?.addBos).toBe(around[name][0]);
  });

  it.each(splits)("has a name for the way in which %s splits", (pre) => {
    expect(ggufTokenizer(tokenizers.get(pre) as Tokenizer, 330).pre).toBe(pre);
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
