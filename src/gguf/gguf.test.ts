import { type FileHandle, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { askLlamaCpp, findLlamaCpp } from "../../test/peers/llama-cpp.js";
import { toNumbers } from "../graph/host-array.js";
import { modelValues } from "../inspect/values.js";
import { type CausalLM, Llama, modelFromConfig } from "../models/index.js";
import { compile } from "../program/compile.js";
import { int32 } from "../program/signature.js";
import { type Tokenizer, tokenizerFromJson, trainTokenizer } from "../tokenizer/index.js";
import { exportGguf, type GgufDType, importGguf } from "./index.js";
import { reorderRows } from "./layout.js";
import { metadataReader } from "./metadata.js";

const llamaCpp = await findLlamaCpp();
const absent = "absent" in llamaCpp ? llamaCpp.absent : undefined;

const prompt = "having little or no money in my purse, I thought I would sail about";
const story =
  "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. ".repeat(
    3,
  );

let folder: string;
let tokenizer: Tokenizer;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-gguf-"));
  path = join(folder, "model.gguf");
  const trained = await trainTokenizer(story, { model: "bpe", vocabSize: 320, specialTokens: ["<|endoftext|>"] });
  tokenizer = tokenizerFromJson(trained.toJSON(), { ...trained.config, eos_token: "<|endoftext|>", bos_token: "<|endoftext|>" });
});
afterAll(() => rm(folder, { recursive: true }));

const sizes = { vocab_size: 320, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4 };
const base = { ...sizes, num_key_value_heads: 2, max_position_embeddings: 64, initializer_range: 0.4, rms_norm_eps: 1e-5 };
const stretched = { factor: 4, original_max_position_embeddings: 16 };
const longrope = {
  ...{ rope_type: "longrope", short_factor: [1, 1, 1, 1, 1.5, 2, 3, 4], long_factor: [1, 1, 2, 3, 4, 5, 6, 8] },
};
const configs: Readonly<Record<string, object>> = {
  llama: { model_type: "llama", ...base },
  "llama, tied": { model_type: "llama", ...base, tie_word_embeddings: true, rope_theta: 500 },
  "llama 3.1": {
    ...{ model_type: "llama", ...base },
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  },
  mistral: { model_type: "mistral", ...base, sliding_window: null, head_dim: 32 },
  qwen2: { model_type: "qwen2", ...base },
  qwen3: { model_type: "qwen3", ...base, head_dim: 32 },
  "llama, yarn": { model_type: "llama", ...base, rope_scaling: { rope_type: "yarn", ...stretched } },
  "qwen2, yarn": {
    ...{ model_type: "qwen2", ...base, rope_theta: 300 },
    rope_scaling: { rope_type: "yarn", ...stretched, attention_factor: 1.4 },
  },
  "qwen3, linear": { model_type: "qwen3", ...base, rope_scaling: { rope_type: "linear", factor: 4 } },
  // Texts and llama.cpp's context beyond the original context, and below it: either has its own divisors.
  phi3: { model_type: "phi3", ...base, pad_token_id: null, rope_scaling: longrope, original_max_position_embeddings: 16 },
  "phi3, short": {
    ...{ model_type: "phi3", ...base, pad_token_id: null, partial_rotary_factor: 0.5 },
    ...{ max_position_embeddings: 4096, original_max_position_embeddings: 1024, sliding_window: 5000 },
    rope_scaling: { ...longrope, short_factor: [1, 1.5, 2, 4], long_factor: [2, 4, 6, 8] },
  },
  "llama, longrope": {
    ...{ model_type: "llama", ...base },
    rope_scaling: { ...longrope, original_max_position_embeddings: 16, attention_factor: 1.2 },
  },
};
const make = (name: string): CausalLM => modelFromConfig(configs[name], undefined, "causal-lm").initialize(7);

async function greedy(model: CausalLM, prompt: readonly number[], count: number): Promise<number[]> {
  await using program = compile(({ ids }) => ({ logits: model.nextTokenLogits(ids) }), { ids: int32(1, "seq") });
  const ids = [...prompt];
  while (ids.length < prompt.length + count) {
    const logits = [...(await program({ ids: [ids] })).logits.toNumbers()];
    ids.push(logits.indexOf(Math.max(...logits)));
  }
  return ids.slice(prompt.length);
}

const values = async (model: CausalLM) =>
  Object.fromEntries(
    await Promise.all(
      [...model.variables()].map(async ([name, variable]) => [name, [...toNumbers(await variable.read())]] as const),
    ),
  );
const fails = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe.skipIf(absent !== undefined)(`llama.cpp${absent === undefined ? "" : ` (${absent})`}`, () => {
  const cases = [
    ...Object.keys(configs).map((name) => [name, "float32"] as const),
    ...(["float16", "bfloat16", "q8_0", "q4_0"] as const).map((dtype) => ["llama", dtype] as const),
  ];
  const fileOf = (name: string, dtype: GgufDType) => join(folder, `${name} in ${dtype}.gguf`);
  /** Of all files in one process: starting it is what takes long. */
  let results: readonly { prompt: number[]; generated: number[]; text: string }[];
  beforeAll(async () => {
    for (const [name, dtype] of cases) await exportGguf(make(name), tokenizer, fileOf(name, dtype), { dtype });
    const paths = cases.map(([name, dtype]) => fileOf(name, dtype));
    results = await askLlamaCpp(llamaCpp, "llama-cpp-generate.mjs", prompt, "12", ...paths);
  });

  it.each(cases)("loads %s in %s, and continues a text with the same tokens", async (name, dtype) => {
    const theirs = results[cases.findIndex((each) => each[0] === name && each[1] === dtype)] as (typeof results)[number];
    const model = dtype === "float32" ? make(name) : (await importGguf(fileOf(name, dtype))).model;
    expect(theirs.prompt).toEqual([...tokenizer.encode(prompt)]);
    expect(theirs.prompt.length).toBeGreaterThan(16); // past the original context of those that are stretched
    const ours = await greedy(model, theirs.prompt, 12);
    expect(new Set(ours).size).toBeGreaterThan(2); // not the same token all the time
    // Where weights are integers, llama.cpp rounds what it multiplies them with to 8 bits too.
    const same = dtype.startsWith("q") ? 3 : 12;
    expect(theirs.generated.slice(0, same)).toEqual(ours.slice(0, same));
    expect(theirs.text).toBe(tokenizer.decode(theirs.generated));
  });
});

describe("a file that was written here", () => {
  it.each(Object.keys(configs))("comes back as the same model and tokenizer: %s", async (name) => {
    const model = make(name);
    await exportGguf(model, tokenizer, path);
    const imported = await importGguf(path);
    expect(await values(imported.model)).toEqual(await values(model));
    expect(imported.model).toMatchObject({ contextLength: model.contextLength });
    const ids = [1, 2, 3, 60];
    const [ours, theirs] = [await modelValues(model, ids), await modelValues(imported.model, ids)];
    const difference = toNumbers(ours.get("logits") as never).map((value, i) =>
      Math.abs(value - (theirs.get("logits")?.data[i] as number)),
    );
    expect(Math.max(...difference)).toBeLessThan(1e-4);
    expect([...(imported.tokenizer?.encode(story) ?? [])]).toEqual([...tokenizer.encode(story)]);
    expect(imported.tokenizer?.specialTokens).toEqual(["<|endoftext|>"]);
    expect(imported.tokenizer?.config).toMatchObject({ eos_token: "<|endoftext|>" });
  });

  it.each([
    ["float16", 2e-3],
    ["bfloat16", 1e-2],
    ["q8_0", 1e-2],
    ["q4_0", 0.13],
  ] as const)("holds matrices in %s as precisely as that is", async (dtype: GgufDType, tolerance) => {
    const model = make("llama");
    await exportGguf(model, tokenizer, path, { dtype });
    const [before, after] = [await values(model), await values((await importGguf(path)).model)];
    const errors = Object.entries(before).map(([name, row]) => {
      const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      return row.reduce((most, value, i) => Math.max(most, Math.abs(value - (after[name]?.[i] ?? Number.NaN))), 0) / largest;
    });
    expect(Math.max(...errors)).toBeLessThanOrEqual(tolerance);
  });
});

describe("rows of rotated heads", () => {
  it("go from halves to neighbours and back", () => {
    const values = Float32Array.from({ length: 16 }, (_, i) => i);
    expect([...reorderRows(values.slice(0, 8), 2, 8, "neighbours")]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect([...reorderRows(values.slice(0, 8), 1, 8, "neighbours")]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    fc.assert(
      fc.property(fc.constantFrom(1, 2), fc.constantFrom(4, 8, 16), (heads, rows) => {
        expect(reorderRows(reorderRows(values, heads, rows, "neighbours"), heads, rows, "halves")).toEqual(values);
      }),
    );
  });
});

describe("a disk", () => {
  afterEach(() => vi.restoreAllMocks());
  /** Lets every file write at most `count` bytes a call, and `calls` times in all. */
  const limit = async (count: number, calls = Number.POSITIVE_INFINITY) => {
    await using file = await open(path, "r");
    const prototype = Object.getPrototypeOf(file) as FileHandle;
    const { write } = prototype;
    let left = calls;
    vi.spyOn(prototype, "write").mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
      const [data, offset, length, position] = args as [Uint8Array, number, number, number | null];
      if (left-- <= 0) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      return Reflect.apply(write, this, [data, offset, Math.min(count, length), position]);
    } as typeof write);
  };

  it("that writes less than it is asked to gets all in the end", async () => {
    await exportGguf(make("llama"), tokenizer, path);
    const whole = await readFile(path);
    await limit(1000);
    const nested = join(folder, "a", "folder", "model.gguf");
    await exportGguf(make("llama"), tokenizer, nested);
    expect((await readFile(nested)).equals(whole)).toBe(true);
  });

  it("that becomes full leaves the file that was there, and nothing else", async () => {
    await exportGguf(make("llama"), tokenizer, path);
    const [before, names] = [await readFile(path), await readdir(folder)];
    await limit(1e9, 5);
    await expect(exportGguf(make("qwen2"), tokenizer, path)).rejects.toMatchObject({ code: "ENOSPC" });
    expect((await readFile(path)).equals(before)).toBe(true);
    expect(await readdir(folder)).toEqual(names);
  });
});

describe("what does not fit", () => {
  it("is refused by the export", async () => {
    const gpt2 = modelFromConfig(
      { model_type: "gpt2", vocab_size: 320, n_embd: 8, n_layer: 1, n_head: 1, n_positions: 8 },
      undefined,
      "causal-lm",
    );
    await expect(exportGguf(gpt2, tokenizer, path)).rejects.toThrow(fails("CONFIG", /type gpt2 cannot be written as GGUF/));
    const windowed = modelFromConfig({ ...configs.mistral, sliding_window: 8 }, undefined, "causal-lm");
    await expect(exportGguf(windowed, tokenizer, path)).rejects.toThrow(fails("CONFIG", /no place for sliding_window 8/));
    const odd = new Llama({ vocabSize: 320, hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 1, numAttentionHeads: 2 });
    await expect(exportGguf(odd, tokenizer, path, { dtype: "q8_0" })).rejects.toThrow(
      fails("CONFIG", /rows of 8 elements, but Q8_0 holds 32/),
    );
    const characters = await trainTokenizer("abc", { model: "character" });
    await expect(exportGguf(make("llama"), characters, path)).rejects.toThrow(fails("TOKENIZER", /does not go by bytes/));
    const small = modelFromConfig({ ...configs.llama, vocab_size: 100 }, undefined, "causal-lm");
    await expect(exportGguf(small, tokenizer, path)).rejects.toThrow(fails("TOKENIZER", /320 tokens, but the model has 100/));
  });

  it("is refused by the import", async () => {
    await expect(importGguf(join(folder, "nowhere.gguf"))).rejects.toThrow(fails("CHECKPOINT", /cannot be opened: ENOENT/));
    const broken = join(folder, "broken.gguf");
    await writeFile(broken, "GIF89a, perhaps, and some more bytes to read");
    await expect(importGguf(broken)).rejects.toThrow(fails("CHECKPOINT", /cannot be read as GGUF/));
    await exportGguf(make("llama"), tokenizer, path);
    const bytes = await readFile(path);
    await writeFile(broken, bytes);
    await truncate(broken, bytes.length - 5000);
    await expect(importGguf(broken)).rejects.toThrow(
      fails("CHECKPOINT", /blk\.1\.ffn_norm|output\.weight.*ends at byte \d+ of \d+; the file is truncated/),
    );
    await writeFile(broken, bytes);
    const { model: opened } = await importGguf(broken);
    await writeFile(broken, bytes.subarray(0, -4));
    const [[, variable] = []] = opened.variables();
    await expect(variable?.read()).rejects.toThrow(
      fails("CHECKPOINT", /broken\.gguf was replaced or removed after it was opened/),
    );
    const unknown = Buffer.from(bytes);
    const name = Buffer.from("blk.1.ffn_up.weight");
    unknown.writeUInt32LE(16, unknown.indexOf(name) + name.length + 4 + 2 * 8);
    await writeFile(broken, unknown);
    await expect(importGguf(broken)).rejects.toThrow(
      fails(
        "CHECKPOINT",
        /blk\.1\.ffn_up\.weight is of type IQ2_XXS\n.*IQ2_XXS cannot be read here, only F32, F16, .*Q6_K.*: .*llama-quantize/,
      ),
    );
    const renamed = Buffer.from(bytes.toString("latin1").replace("blk.1.ffn_up", "blk.1.fun_up"), "latin1");
    await writeFile(broken, renamed);
    await expect(importGguf(broken)).rejects.toThrow(
      fails("CHECKPOINT", /missing: blk\.1\.ffn_up\.weight\n.*not expected: blk\.1\.fun_up\.weight/),
    );
    const untyped = Buffer.from(bytes.toString("latin1").replace("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz"), "latin1");
    await writeFile(broken, untyped);
    await expect(importGguf(broken)).rejects.toThrow(fails("CHECKPOINT", /tokenizer\.ggml\.tokens is missing/));
    const foreign = Buffer.from(bytes.toString("latin1").replace("llama", "mamba"), "latin1");
    await writeFile(broken, foreign);
    await expect(importGguf(broken)).rejects.toThrow(
      fails("CONFIG", /architecture "mamba"; known are llama, qwen2, qwen3, phi3/),
    );
  });

  it("is refused where an entry is of another type", () => {
    const { text, number, numbers } = metadataReader({ "llama.a": 1, "llama.b": [1, "2"] }, "llama.", "x.gguf");
    expect([number("a"), number("c")]).toEqual([1, undefined]);
    expect(() => text("a")).toThrow(fails("CHECKPOINT", /x\.gguf cannot be read here: its llama\.a is not a text/));
    expect(() => numbers("b")).toThrow(fails("CHECKPOINT", /its llama\.b is not a list of numbers/));
  });
});
