import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { readSafetensors, saveVariables, writeSafetensors } from "../../checkpoint/index.js";
import { exportGguf } from "../../gguf/index.js";
import type { HostArray } from "../../graph/host-array.js";
import { checkpointVariables } from "../../models/architectures.js";
import { Bert, ImageClassifier, Llama, saveModel, ViT } from "../../models/index.js";
import { trainTokenizer } from "../../tokenizer/index.js";
import { runProgram } from "../program.js";
import * as compare from "./compare.js";
import * as inspect from "./inspect.js";
import * as logits from "./logits.js";
import * as sample from "./sample.js";

let folder: string;
const model = new Llama({
  ...{ vocabSize: 20, hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 2, numAttentionHeads: 2, numKeyValueHeads: 1 },
}).initialize(3);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-looking-"));
  await saveModel(model, join(folder, "model"));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = 0;
});

async function run(exitCode: number, ...parameters: readonly string[]): Promise<string> {
  const printed: string[] = [];
  const print = (text: unknown) => void printed.push(String(text));
  vi.spyOn(console, "log").mockImplementation(print);
  vi.spyOn(console, "error").mockImplementation(print);
  vi.spyOn(process.stderr, "write").mockImplementation((text) => printed.push(String(text)) > 0);
  process.exitCode = 0;
  expect([await runProgram(parameters, [inspect, logits, compare, sample]), printed.join("\n")]).toEqual([
    exitCode,
    expect.anything(),
  ]);
  return printed.join("\n");
}

const modelPath = () => join(folder, "model");
const values = () => join(folder, "values.safetensors");

async function changed(change: (tensors: Map<string, HostArray>) => void): Promise<string> {
  await using file = await readSafetensors(values());
  const tensors = new Map<string, HostArray>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
  change(tensors);
  const path = join(folder, "changed.safetensors");
  await writeSafetensors(
    path,
    [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: () => data })),
  );
  return path;
}

it("inspects a configuration and a directory", async () => {
  const expected = { parameters: 1320, modelType: "llama", batch: 2, context: 16 };
  const flags = ["--batch", "2", "--context", "16", "--json"];
  expect(JSON.parse(await run(0, "inspect", modelPath(), ...flags))).toMatchObject(expected);
  expect(JSON.parse(await run(0, "inspect", join(modelPath(), "config.json"), ...flags))).toMatchObject(expected);
  expect(await run(0, "inspect", modelPath(), "--dtype", "int8")).toMatch(
    /^llama: 1,320 parameters\n.*Memory of inference in int8/s,
  );
  expect(await run(1, "inspect", modelPath(), "--batch", "0")).toMatch(/whole number from 1/);
  expect(await run(1, "inspect", modelPath(), "--optimizer", "adam")).toMatch(/ARGUMENT.*known are adamw/);
  expect(await run(1, "inspect", folder)).toMatch(/CONFIG.*no .*config\.json/);
});

it("prints logits, and any named value, as JSON and for reading", async () => {
  const result = JSON.parse(await run(0, "logits", modelPath(), "--ids", "1,2,3", "--json"));
  expect(result.shape).toEqual([3, 20]);
  expect(result.data).toHaveLength(60);
  const weights = JSON.parse(
    await run(0, "logits", modelPath(), "--ids", "1,2,3", "--layer", "layers.1.selfAttn.weights", "--json"),
  );
  expect(weights.shape).toEqual([2, 3, 3]);
  expect(weights.data[1]).toBeLessThan(1e-6); // the first token sees itself alone
  expect(await run(0, "logits", modelPath(), "--ids", "1, 2")).toMatch(/^logits \[2, 20\]\n( +-?\d\.\S+){8} {2}\.\.\./);
  expect(await run(1, "logits", modelPath(), "--ids", "1,2", "--layer", "layers.9")).toMatch(
    /ARGUMENT.*"layers\.9".*layers\.0\.selfAttn\.weights/s,
  );
  expect(await run(1, "logits", modelPath(), "--ids", "1,20")).toMatch(/20 is not an id of the vocabulary/);
  expect(await run(1, "logits", modelPath(), "--ids", "1,x")).toMatch(/such as 1,2,3/);
});

it("looks into GGUF files too", async () => {
  const tokenizer = await trainTokenizer("abcdefgh", { model: "bpe", vocabSize: 260 });
  const sizes = { hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 1, numAttentionHeads: 2 };
  const file = join(folder, "model.gguf");
  const directory = join(folder, "same");
  const same = new Llama({ vocabSize: 300, ...sizes }).initialize(3);
  await exportGguf(same, tokenizer, file);
  await saveModel(same, directory);
  await run(0, "logits", directory, "--ids", "1,2,3", "--save", values());
  expect(await run(0, "compare", file, values())).toMatch(/^All \d+ values agree/);
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  await run(0, "sample", file, "abc", "--max-tokens", "2");
  expect(process.stdout.write).toHaveBeenCalledWith("abc");
  expect(await run(1, "logits", join(folder, "none.gguf"), "--ids", "1")).toMatch(/CHECKPOINT.*none\.gguf cannot be opened/);
  expect(await run(0, "inspect", file)).toBe(await run(0, "inspect", directory));
});

it("names the first value that differs, in the order of computation", async () => {
  await run(0, "logits", modelPath(), "--ids", "1,2,3", "--save", values());
  expect(await run(0, "compare", modelPath(), values())).toMatch(/^All \d\d+ values agree within 0\.0001\.$/);
  const path = await changed((tensors) => {
    for (const name of ["logits", "layers.1.mlp.output", "layers.1.selfAttn.weights"])
      (tensors.get(name) as HostArray<"float32">).data[4] = 9;
  });
  expect(await run(1, "compare", modelPath(), path)).toMatch(
    /^3 of \d+ values differ, the first of them layers\.1\.selfAttn\.weights:\n {2}element 4 of \[2, 3, 3\] is 0\.\d+ here and 9 there$/,
  );
  expect(JSON.parse(await run(1, "compare", modelPath(), path, "--json"))).toMatchObject({
    different: 3,
    first: { name: "layers.1.selfAttn.weights" },
  });
  expect(await run(0, "compare", modelPath(), path, "--tolerance", "10")).toMatch(/agree within 10/);
});

it("compares parameters, and values under the names of Python's modules", async () => {
  const weights = join(folder, "weights.safetensors");
  await saveVariables(weights, checkpointVariables(model));
  expect(await run(0, "compare", modelPath(), weights)).toMatch(/^All 21 values agree/);
  const path = await changed((tensors) => {
    const value = tensors.get("layers.0.selfAttn.output") as HostArray<"float32">;
    const ids = tensors.get("input_ids") as HostArray;
    tensors.clear();
    tensors.set("model.layers.0.self_attn", { ...value, shape: [1, ...value.shape] }).set("input_ids", ids);
  });
  expect(await run(0, "compare", modelPath(), path)).toMatch(/^All 1 values agree/);
  expect(await run(1, "compare", modelPath(), path, "--ids", "3,2,1")).toMatch(/first of them model\.layers\.0\.self_attn/);
  expect(await run(1, "compare", modelPath(), path, "--ids", "3,2")).toMatch(/its shape is \[2, 8\] here and \[3, 8\] there/);
});

it("refuses values that it does not know, and values without tokens", async () => {
  await run(0, "logits", modelPath(), "--ids", "1,2,3", "--save", values());
  const foreign = await changed(
    (tensors) => void tensors.set("layers.7.output", { dtype: "float32", shape: [1], data: new Float32Array(1) }),
  );
  expect(await run(1, "compare", modelPath(), foreign)).toMatch(/Nothing in the model is called layers\.7\.output/);
  const idless = await changed((tensors) => void tensors.delete("input_ids"));
  expect(await run(1, "compare", modelPath(), idless)).toMatch(/needs token ids/);
  await writeFile(join(folder, "x.safetensors"), "no");
  expect(await run(1, "compare", modelPath(), join(folder, "x.safetensors"))).toMatch(/CHECKPOINT/);
});

it("serves every kind of model: text with sentences and padding, pictures, further outputs", async () => {
  const [bert, vit, pixels] = ["bert", "vit", "pixels.safetensors"].map((name) => join(folder, name)) as [string, string, string];
  const size = { hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
  await saveModel(new Bert({ vocabSize: 20, ...size, maxPositionEmbeddings: 6 }).initialize(1), bert);
  const backbone = new ViT({ imageSize: 4, patchSize: 2, numChannels: 1, ...size });
  await saveModel(new ImageClassifier(backbone, { labels: ["a", "b", "c"] }).initialize(1), vit);
  const data = Float32Array.from({ length: 32 }, (_, i) => i / 32);
  await writeSafetensors(pixels, [{ name: "pixels", dtype: "float32", shape: [2, 1, 4, 4], data: () => data }]);
  const json = async (...parameters: string[]) =>
    JSON.parse(await run(0, "logits", ...parameters, "--json")) as { shape: number[]; data: number[] };

  const plain = await json(bert, "--ids", "1,2,3");
  expect(plain.shape).toEqual([3, 8]);
  const masked = await json(bert, "--ids", "1,2,3", "--mask", "1,1,0");
  expect(masked.data.slice(0, 16)).not.toEqual(plain.data.slice(0, 16));
  expect((await json(bert, "--ids", "1,2", "--mask", "1,1")).data).toEqual(
    masked.data.slice(0, 16).map((x) => expect.closeTo(x, 5)),
  );
  expect((await json(bert, "--ids", "1,2,3", "--token-type-ids", "0,0,1")).data).not.toEqual(plain.data);
  expect((await json(bert, "--ids", "1,2,3", "--output", "poolerOutput")).shape).toEqual([8]);
  expect((await json(bert, "--ids", "1,2,3", "--layer", "layers.0.output.output")).shape).toEqual([3, 8]);
  expect((await json(vit, "--pixels", pixels)).shape).toEqual([2, 3]);

  expect(await run(1, "logits", bert)).toMatch(/kind encoder needs ids, which was not given/);
  expect(await run(1, "logits", bert, "--ids", "1,2", "--mask", "1")).toMatch(/2 ids, but 1 values were given for mask/);
  expect(await run(1, "logits", bert, "--ids", "1", "--decoder-ids", "1")).toMatch(/has no input "decoderIds"; it has ids/);
  expect(await run(1, "logits", vit, "--pixels", join(vit, "model.safetensors"))).toMatch(/a file with the pixels holds one/);

  const costs = JSON.parse(await run(0, "inspect", vit, "--batch", "2", "--json")) as Record<string, unknown>;
  // 2 pictures: 4 patches of 4 pixels and a first token, 4 maps of 8 × 8, 2 of 8 × 32, scores and mixtures of 5 × 5, and the classes.
  const flops = 2 * 2 * (4 * 4 * 8 + 5 * (4 * 64 + 2 * 256) + 2 * 5 * 5 * 8 + 8 * 3);
  expect(costs).toMatchObject({ kind: "image-classifier", inputs: { pixels: [2, 1, 4, 4] }, forwardFlops: flops });
  expect(await run(0, "inspect", bert, "--context", "5")).toMatch(
    /^bert, encoder: [\d,]+ parameters[\s\S]*Operations for ids \[1, 5\]/,
  );
});
