/** Runs of every objective, from their recipes alone. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../models/index.js";
import { type RecipeInput, runTraining } from "./index.js";

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
