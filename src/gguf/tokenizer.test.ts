import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLlamaCpp } from "../../test/peers/llama-cpp.js";
import { modelFromConfig } from "../models/index.js";
import { type Tokenizer, tokenizerFromJson } from "../tokenizer/index.js";
import { exportGguf, importGguf } from "./index.js";
import { ggufTokenizer, tokenizerFromGguf } from "./tokenizer.js";

interface Golden {
  readonly texts: readonly string[];
  readonly tokenizers: Readonly<
    Record<"llama" | "gemma", { readonly tokenizer: { model: { merges: unknown[] } }; readonly ids: readonly number[][] }>
  >;
}

/** Trained by SentencePiece, and brought to tokenizer.json by Python's transformers: reference/sentencepiece_tokenizers.py. */
const golden = JSON.parse(
  await readFile(new URL("../../reference/golden/sentencepiece-tokenizers.json", import.meta.url), "utf8"),
) as Golden;
const configs = {
  llama: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  gemma: { bos_token: "<bos>", eos_token: "<eos>", pad_token: "<pad>", unk_token: "<unk>" },
} as const;
const names = ["llama", "gemma"] as const;
const vocabSize = 448;
const tokenizerOf = (name: (typeof names)[number]): Tokenizer =>
  tokenizerFromJson(golden.tokenizers[name].tokenizer, configs[name]);
const idsOf = (tokenizer: Tokenizer | undefined): number[][] => golden.texts.map((text) => [...(tokenizer?.encode(text) ?? [])]);

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
    expect(imported?.config).toMatchObject({ ...configs[name], add_bos_token: true, add_eos_token: false });
    expect(imported?.tokenize("I thought").ids).toEqual(tokenizer.tokenize("I thought").ids);
    expect(imported?.specialTokens).toEqual(tokenizer.specialTokens);
  });

  it("has the merges again that were not in the file", () => {
    const { merges } = tokenizerFromGguf(ggufTokenizer(tokenizerOf(name), vocabSize), "").toJSON().model as { merges?: unknown };
    expect(merges).toEqual(golden.tokenizers[name].tokenizer.model.merges);
  });
});

const llamaCpp = await findLlamaCpp();
const absent = "absent" in llamaCpp ? llamaCpp.absent : undefined;

describe.skipIf(absent !== undefined)(`llama.cpp${absent === undefined ? "" : ` (${absent})`}`, () => {
  it.each(names)("makes the same ids with the tokenizer of %s", async (name) => {
    const tokenizer = tokenizerOf(name);
    const script = fileURLToPath(new URL("../../test/peers/llama-cpp-tokenize.mjs", import.meta.url));
    const url = "url" in llamaCpp ? llamaCpp.url : "";
    const parameters = [script, url, await exported(tokenizer), JSON.stringify(golden.texts)];
    const { stdout } = await promisify(execFile)(process.execPath, parameters);
    const { addBos, results } = JSON.parse(stdout.trim().split("\n").at(-1) as string) as {
      addBos: boolean;
      results: { ids: number[] }[];
    };
    expect(addBos).toBe(true);
    expect(results.map(({ ids }) => ids)).toEqual(golden.tokenizers[name].ids);
  });
});

it("whose merges scores cannot tell is refused", () => {
  const json = structuredClone(golden.tokenizers.llama.tokenizer);
  const refused = (merges: unknown[]) => () =>
    ggufTokenizer(tokenizerFromJson({ ...json, model: { ...json.model, merges } }, configs.llama), vocabSize);
  const { merges } = json.model;
  const pairs = merges as [string, string][];
  const several = pairs.findIndex(([a, b], i) => pairs[i + 1]?.join("") === a + b);
  expect(refused(merges.toSpliced(several, 1))).toThrow(/not all pairs of tokens that make .* are among its merges/);
  expect(refused([...merges.toSpliced(several, 1), merges[several]])).toThrow(/have others between them/);
});
