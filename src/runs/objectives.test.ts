/** Runs of every objective, from their recipes alone. */

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelValues } from "../inspect/index.js";
import { loadModel } from "../models/index.js";
import type { Reporter } from "../train/index.js";
import { RunDirectory } from "./directory.node.js";
import { parseRecipe, type RecipeInput, runTraining } from "./index.js";
import { openTrainedModel } from "./trained-model.node.js";

let folder: string;
let data: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-objectives-"));
  data = join(folder, "text.txt");
  await writeFile(data, "the cat sat on the mat. the dog sat on the log. ".repeat(20));
});
afterAll(() => rm(folder, { recursive: true }));

const training = { steps: 3, batchSize: 4, context: 8, learningRate: 1e-3 };
const engine = { name: "onnxruntime", device: "cpu", threads: 1 } as const;
const rowsOf = async (directory: string) =>
  (await readFile(join(directory, "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number>);

describe("a run", () => {
  it("of masked language modelling is resumed, and leaves an encoder that loads", async () => {
    const sizes = {
      hidden_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      intermediate_size: 32,
      max_position_embeddings: 8,
    };
    const recipe: RecipeInput = {
      objective: { name: "masked-lm", maskRate: 0.3 },
      data: { files: [data] },
      tokenizer: { model: "character", specialTokens: ["[MASK]"] },
      model: { architecture: "config", config: { model_type: "bert", ...sizes } },
      ...{ training: { ...training, saveEvery: 1 }, engine },
    };
    const straight = join(folder, "straight");
    await runTraining(recipe, { directory: straight });
    const directory = join(folder, "masked");
    const controller = new AbortController();
    const silent = { start() {}, message() {}, finish() {} };
    const reporter = { ...silent, step: () => controller.abort() };
    expect((await runTraining(recipe, { directory, reporter, signal: controller.signal })).stopped).toBe(true);
    const result = await runTraining(undefined, { directory, resume: true });
    expect(result).toMatchObject({
      steps: 3,
      stopped: false,
      unit: "token",
      recipe: { version: 2, objective: { maskRate: 0.3 } },
    });
    const losses = async (run: string) => (await rowsOf(run)).flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
    expect(await losses(directory)).toEqual(await losses(straight));
    expect((await loadModel(directory)).kind).toBe("masked-lm");
  });

  it("of distillation opens its teacher, and says which it needs", async () => {
    const sizes = { numHiddenLayers: 1, numAttentionHeads: 2 };
    const teacher = join(folder, "teacher");
    const base: RecipeInput = { data: { files: [data] }, tokenizer: { model: "character" }, training, engine };
    await runTraining({ ...base, model: { architecture: "llama", hiddenSize: 32, ...sizes } }, { directory: teacher });
    const student: RecipeInput = {
      ...base,
      objective: { name: "distillation" },
      tokenizer: { model: "saved", folder: teacher },
      model: { architecture: "llama", hiddenSize: 16, ...sizes },
    };
    await expect(runTraining(student, { directory: join(folder, "alone") })).rejects.toThrow(
      /companions\.teacher: nothing was given, expected \{ "source": \.\.\. \}: distillation needs a teacher/,
    );
    const directory = join(folder, "student");
    await runTraining({ ...student, companions: { teacher: { source: teacher } } }, { directory });
    const rows = await rowsOf(directory);
    expect(rows[0]).toMatchObject({ step: 1, divergence: expect.any(Number), tokensPerSecond: expect.any(Number) });
    expect(rows.at(-1)).toMatchObject({ validationLoss: expect.any(Number), validationDivergence: expect.any(Number) });
  });

  it("of a tuned model trains the adapter alone, is resumed and sampled on the way, and ends as one model", async () => {
    const base = join(folder, "base");
    const common: RecipeInput = {
      data: { files: [data] },
      training: { ...training, steps: 4, saveEvery: 2, learningRate: 0.05 },
      engine,
    };
    const sizes = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
    await runTraining(
      { ...common, tokenizer: { model: "character" }, model: { architecture: "llama", ...sizes } },
      { directory: base },
    );
    const recipe: RecipeInput = {
      ...{ ...common, model: { architecture: "saved", source: base }, tuning: { method: "lora", rank: 2 } },
    };
    const straight = join(folder, "tuned-straight");
    await runTraining(recipe, { directory: straight });
    const directory = join(folder, "tuned");
    const controller = new AbortController();
    const reporter = {
      start() {},
      message() {},
      finish() {},
      step: ({ step }: { step: number }) => step === 3 && controller.abort(),
    };
    await runTraining(recipe, { directory, reporter: reporter as Reporter, signal: controller.signal });

    const ids = [1, 2, 3];
    const logitsOf = async (source: string) =>
      [...((await modelValues((await openTrainedModel(source)).model, ids)).get("logits")?.data ?? [])].map(Number);
    const [before, middle] = [await logitsOf(base), await logitsOf(directory)];
    expect(middle).not.toEqual(before);
    await rm(base, { recursive: true }); // the run has all that it needs
    await runTraining(undefined, { directory, resume: true });
    const losses = async (run: string) => (await rowsOf(run)).flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
    expect(await losses(directory)).toEqual(await losses(straight));
    const after = await logitsOf(directory);
    expect(after).toEqual(await logitsOf(straight));
    expect(after).not.toEqual(middle);
    expect(await readdir(join(directory, "adapter"))).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const checkpoints = (await readdir(join(directory, "checkpoints"))).sort();
    const sizesOf = await Promise.all(checkpoints.map((name) => stat(join(directory, "checkpoints", name, "model.safetensors"))));
    expect(new Set(sizesOf.map(({ ino }) => ino)).size).toBe(1); // one file, under several names
    expect(() => parseRecipe({ ...recipe, tuning: { method: "nothing" } })).toThrow(
      /tuning\.method: "nothing" was given, expected .*"lora"/,
    );
  });

  it("of pictures needs neither text nor tokenizer", async () => {
    const sizes = {
      image_size: 28,
      patch_size: 7,
      num_channels: 1,
      hidden_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
    };
    const labels = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [String(i), `digit ${i}`]));
    const recipe: RecipeInput = {
      objective: { name: "image-classification", corpus: "digits", limit: 200 },
      model: { architecture: "config", config: { model_type: "vit", intermediate_size: 32, id2label: labels, ...sizes } },
      training: { steps: 3, batchSize: 20, learningRate: 1e-3 },
      engine,
    };
    const directory = join(folder, "digits");
    const { validation, unit } = await runTraining(recipe, { directory });
    expect(unit).toBe("image");
    expect(validation?.metrics.accuracy).toBeGreaterThanOrEqual(0);
    expect((await rowsOf(directory))[0]).toMatchObject({ imagesPerSecond: expect.any(Number) });
    expect((await loadModel(directory, { kind: "image-classifier" })).labels[3]).toBe("digit 3");
    await expect(runTraining({ ...recipe, data: { files: [data] } }, { directory: `${directory}-2` })).rejects.toThrow(
      /image-classification names its corpus itself/,
    );
  });

  it("keeps the model with the smallest validation loss, whenever checkpoints are due", async () => {
    const directory = join(folder, "best");
    await runTraining(
      {
        ...{ data: { files: [data] }, tokenizer: { model: "character" }, engine },
        model: { architecture: "gpt2", nEmbd: 16, nLayer: 1, nHead: 2 },
        training: { ...training, steps: 6, validateEvery: 2, saveEvery: 100 },
      },
      { directory },
    );
    const losses = (await rowsOf(directory)).flatMap(({ validationLoss }) => validationLoss ?? []);
    expect(losses).toHaveLength(3);
    expect((await (await RunDirectory.open(directory)).bestCheckpoint())?.validationLoss).toBe(Math.min(...losses));
  });

  it("can be extended when it has ended", async () => {
    const directory = join(folder, "extended");
    const recipe = (steps: number): RecipeInput => ({
      ...{ data: { files: [data] }, tokenizer: { model: "character" as const }, engine },
      ...{ model: { architecture: "gpt2", nEmbd: 16, nLayer: 1, nHead: 2 }, training: { ...training, steps } },
    });
    await runTraining(recipe(3), { directory });
    expect(await runTraining(recipe(5), { directory, resume: true })).toMatchObject({ steps: 5, stopped: false });
    expect((await rowsOf(directory)).flatMap(({ loss, step }) => (loss === undefined ? [] : [step]))).toEqual([1, 2, 3, 4, 5]);
  });
});
