import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelValues } from "../inspect/values.js";
import { type CausalLM, modelFromConfig } from "../models/index.js";
import { type Tokenizer, trainTokenizer } from "../tokenizer/index.js";
import { exportOnnx } from "./index.js";

const generator = fileURLToPath(new URL("../../test/peers/transformers-js-generate.mjs", import.meta.url));

let folder: string;
let tokenizer: Tokenizer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-onnx-"));
  tokenizer = await trainTokenizer("Call me Ishmael. Some years ago I thought I would sail about a little.", {
    model: "bpe",
    vocabSize: 280,
  });
});
afterAll(() => rm(folder, { recursive: true }));

const sizes = { vocab_size: 280, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4 };
const base = { ...sizes, num_key_value_heads: 2, max_position_embeddings: 64, initializer_range: 0.4 };
const gpt2 = { model_type: "gpt2", vocab_size: 280, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 64, initializer_range: 0.4 };
const longrope = (original: number) => ({
  ...{ pad_token_id: null, original_max_position_embeddings: original },
  rope_scaling: { rope_type: "longrope", short_factor: [1, 2], long_factor: [2, 5], attention_factor: 1.2 },
});
const configs: Readonly<Record<string, object>> = {
  gpt2,
  llama: { model_type: "llama", ...base },
  "llama in two files": { model_type: "llama", ...base, tie_word_embeddings: true },
  qwen3: { model_type: "qwen3", ...base, head_dim: 8 },
  // Windows shorter than what is generated.
  gemma3_text: { model_type: "gemma3_text", ...base, head_dim: 8, query_pre_attn_scalar: 8, sliding_window: 4 },
  // Positions from the mask, not from position_ids.
  bloom: { model_type: "bloom", vocab_size: 280, hidden_size: 16, n_layer: 2, n_head: 2, initializer_range: 0.4 },
  // Texts all beyond the original context, and all within it: LongRoPE has divisors for either.
  phi3: { model_type: "phi3", ...base, ...longrope(1) },
  "phi3 within its original context": { model_type: "phi3", ...base, ...longrope(32) },
  qwen3_moe: { model_type: "qwen3_moe", ...base, head_dim: 8, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 8 },
};

interface Result {
  readonly prompt: number[];
  readonly logits: number[];
  readonly generated: number[];
  readonly batch: { readonly shape: number[]; readonly data: number[] };
}

const logitsOf = async (model: CausalLM, ids: readonly number[]): Promise<number[]> => [
  ...((await modelValues(model, ids)).get("logits") as { data: Float32Array }).data,
];
const largestDifference = (a: readonly number[], b: readonly number[]): number =>
  a.length === b.length ? Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number)))) : Number.POSITIVE_INFINITY;

const names = Object.keys(configs);
const make = (name: string): CausalLM => modelFromConfig(configs[name], undefined, "causal-lm").initialize(5);
const directoryOf = (name: string): string => join(folder, name.replaceAll(" ", "-"));
const inTwoFiles = (name: string): boolean => name === "llama in two files";
/** Of all models in one process: starting it is what takes long. */
let results: readonly Result[];
beforeAll(async () => {
  for (const name of names) await exportOnnx(make(name), directoryOf(name), { tokenizer, externalData: inTwoFiles(name) });
  const parameters = [generator, "I would sail", "6", ...names.map(directoryOf)];
  const { stdout } = await promisify(execFile)(process.execPath, parameters);
  results = JSON.parse(stdout.trim().split("\n").at(-1) as string);
});

it.each(names)("transformers.js runs %s: logits, cached generation and padding", async (name) => {
  const [model, theirs] = [make(name), results[names.indexOf(name)] as Result];
  expect((await readdir(join(directoryOf(name), "onnx"))).sort()).toEqual(
    inTwoFiles(name) ? ["model.onnx", "model.onnx_data"] : ["model.onnx"],
  );
  expect(theirs.prompt).toEqual([...tokenizer.encode("I would sail")]);
  expect(largestDifference(theirs.logits, await logitsOf(model, theirs.prompt))).toBeLessThan(1e-4);

  const ids = [...theirs.prompt];
  while (ids.length < theirs.prompt.length + 6) {
    const last = (await logitsOf(model, ids)).slice(-model.vocabSize);
    ids.push(last.indexOf(Math.max(...last)));
  }
  expect(theirs.generated).toEqual(ids);
  const { shape, data } = theirs.batch;
  expect(shape).toEqual([2, 4, 280]);
  expect(largestDifference(data.slice(2 * 280, 4 * 280), await logitsOf(model, [5, 6]))).toBeLessThan(1e-4);
  expect(largestDifference(data.slice(4 * 280), await logitsOf(model, [1, 2, 3, 4]))).toBeLessThan(1e-4);
});

it("parameters are in the file that was asked for, and those that do not fit are refused", async () => {
  const directory = join(folder, "twice");
  const model = modelFromConfig(configs.llama, undefined, "causal-lm").initialize(5);
  for (const externalData of [true, false]) await exportOnnx(model, directory, { externalData });
  expect(await readdir(join(directory, "onnx"))).toEqual(["model.onnx"]);
  const large = modelFromConfig({ model_type: "llama", ...base, vocab_size: 100_000, hidden_size: 4096 }, undefined, "causal-lm");
  await expect(exportOnnx(large, directory, { externalData: false })).rejects.toMatchObject({
    code: "ARGUMENT",
    message: expect.stringMatching(/Parameters of \d+ bytes do not fit into an ONNX file/),
  });
});
