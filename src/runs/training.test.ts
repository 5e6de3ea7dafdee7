import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { whyNoOpenVino } from "../engine/testing/openvino.js";
import { generate } from "../generate/index.js";
import { exportGguf } from "../gguf/index.js";
import { toNumbers } from "../graph/host-array.js";
import { loadModel } from "../models/index.js";
import { loadTokenizer } from "../tokenizer/index.js";
import { type Reporter, silentReporter } from "../train/reporter.js";
import { RunDirectory } from "./directory.node.js";
import { type RecipeInput, type RunTrainingOptions, runTraining } from "./index.js";

let folder: string;
let directory: string;
let textPath: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-training-"));
  directory = join(folder, "runs", "whale");
  textPath = join(folder, "text.txt");
  await writeFile(textPath, "the whale swims; the ship sails; the sea is deep. ".repeat(40));
});
afterEach(() => rm(folder, { recursive: true }));

/** Small, and with everything that has to come back after a stop: dropout, accumulation, a z-loss, several epochs. */
const recipe = (training: RecipeInput["training"] = {}): RecipeInput => ({
  data: { files: [textPath] },
  tokenizer: { model: "character" },
  model: { architecture: "gpt2", nEmbd: 16, nLayer: 2, nHead: 2 },
  training: {
    ...{ steps: 12, batchSize: 4, context: 16, learningRate: 1e-2, dropout: 0.1, seed: 5, accumulation: 2 },
    ...{ zLoss: 1e-3, validateEvery: 4, saveEvery: 3 },
    ...training,
  },
  samples: { maxTokens: 5 },
  // `auto` measures which is faster, and beside other work may choose otherwise for a second run.
  engine: { threads: 2, precision: "fp32" },
});

/** The measurements, without what depends on the clock. */
async function measured(path: string) {
  const rows = await (await RunDirectory.open(path)).metrics();
  return rows.map(({ seconds: _, tokensPerSecond: __, ...row }) => row);
}

const parametersOf = async (path: string) =>
  Promise.all([...(await loadModel(path)).parameters().values()].map(async (one) => [...toNumbers(await one.read())]));

const atStep = (step: number, act: () => void): Reporter => ({
  ...silentReporter,
  step: (report) => report.step === step && act(),
});

const fails = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe("runTraining", () => {
  it("leaves a run that is a Hugging Face directory with curve, samples and metrics", async () => {
    const messages: string[] = [];
    const result = await runTraining(recipe(), {
      directory,
      generate,
      reporter: { ...silentReporter, message: (text) => messages.push(text) },
    });
    expect(result).toMatchObject({ directory, steps: 12, stopped: false, validation: { step: 12 } });
    expect(result.samples).toEqual([{ prompt: "the whale swims;", text: expect.stringMatching(/^[\s\S]{5}$/) }]);
    expect((await readdir(directory)).sort()).toEqual([
      ...["checkpoints", "config.json", "engines.json", "generation_config.json", "latest", "loss.svg", "metrics.jsonl"],
      ...["model.safetensors", "recipe.json", "run.json", "samples", "tokenizer.json", "tokenizer_config.json"],
    ]);
    expect(await readdir(join(directory, "samples"))).toEqual(["step-000004.txt", "step-000008.txt", "step-000012.txt"]);
    expect((await readdir(join(directory, "checkpoints"))).sort()).toContain("step-000012");
    expect(await readFile(join(directory, "loss.svg"), "utf8")).toMatch(/^<svg/);
    const rows = await measured(directory);
    expect(rows.filter(({ loss }) => loss !== undefined).map(({ step }) => step)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    for (const { loss, auxiliaryLoss } of rows) expect(typeof auxiliaryLoss).toBe(typeof loss); // the z-loss, on every step
    expect(rows.filter(({ validationLoss }) => validationLoss !== undefined).map(({ step }) => step)).toEqual([4, 8, 12]);
    expect(rows.at(-1)?.validationLoss).toBeLessThan(rows[0]?.loss ?? 0);
    expect(messages[0]).toMatch(/^text .*text\.txt[\s\S]*^model +gpt2, 0\.0 million parameters$/m);

    const pieces = [];
    for await (const piece of generate(
      await loadModel(directory, { kind: "causal-lm" }),
      await loadTokenizer(directory),
      "the ",
      { maxTokens: 5 },
    ))
      pieces.push(piece);
    expect(pieces.join("")).toHaveLength(5);
  });

  it("goes on after SIGKILL to the same losses and parameters, bit for bit", async () => {
    const straight = join(folder, "straight");
    await runTraining(recipe(), { directory: straight, generate });
    const script = join(folder, "train.mts");
    await writeFile(
      script,
      `import { generate } from ${JSON.stringify(new URL("../generate/index.ts", import.meta.url).href)};
      import { runTraining } from ${JSON.stringify(new URL("./index.ts", import.meta.url).href)};
      const reporter = { start() {}, message() {}, finish() {}, step: ({ step }) => step === 8 && process.kill(process.pid, "SIGKILL") };
      await runTraining(${JSON.stringify(recipe())}, { directory: ${JSON.stringify(directory)}, generate, reporter });`,
    );
    const child = spawn(process.execPath, [...process.execArgv, script], { stdio: ["ignore", "inherit", "inherit"] });
    expect(await once(child, "close")).toEqual([null, "SIGKILL"]);
    expect((await measured(directory)).at(-1)?.step).toBe(7);
    expect((await (await RunDirectory.open(directory)).latestCheckpoint())?.step).toBe(6);

    const steps: number[] = [];
    const reporter: Reporter = { ...silentReporter, step: ({ step }) => steps.push(step) };
    await runTraining(undefined, { directory, resume: true, generate, reporter });
    expect(steps).toEqual([7, 8, 9, 10, 11, 12]);
    expect(await measured(directory)).toEqual(await measured(straight));
    expect(await parametersOf(directory)).toEqual(await parametersOf(straight));
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("saves when the signal stops it, and goes on from there", async () => {
    const straight = join(folder, "straight");
    await runTraining(recipe(), { directory: straight });
    const controller = new AbortController();
    const reporter = atStep(5, () => controller.abort());
    const stopped = await runTraining(recipe(), { directory, signal: controller.signal, reporter });
    expect(stopped).toMatchObject({ steps: 5, stopped: true, samples: [] });
    expect((await (await RunDirectory.open(directory)).latestCheckpoint())?.step).toBe(5);
    await expect(loadModel(directory)).rejects.toThrow(fails("CHECKPOINT", /It is a run that has not ended/));
    const resumed = await runTraining(recipe(), { directory, resume: true });
    expect(resumed).toMatchObject({ steps: 12, stopped: false });
    expect(resumed.seconds).toBeGreaterThan(stopped.seconds);
    expect(await measured(directory)).toEqual(await measured(straight));
  });

  it("keeps compiled programs until it has ended, and needs none of them", async () => {
    const straight = join(folder, "straight");
    await runTraining(recipe(), { directory: straight });
    const compiled = join(directory, "compiled");
    const stopAt = async (step: number, resume: boolean) => {
      const controller = new AbortController();
      await runTraining(recipe(), {
        directory,
        resume,
        signal: controller.signal,
        reporter: atStep(step, () => controller.abort()),
      });
    };
    await stopAt(3, false);
    const kept = await readdir(compiled).catch(() => []);
    expect(kept.length > 0).toBe((await whyNoOpenVino()) === undefined);
    await stopAt(6, true);
    expect(await readdir(compiled).catch(() => [])).toEqual(kept);
    for (const entry of kept)
      for (const file of await readdir(join(compiled, entry))) {
        await chmod(join(compiled, entry, file), 0o644);
        await truncate(join(compiled, entry, file), 100);
      }
    await stopAt(9, true);
    await rm(compiled, { recursive: true, force: true });
    await runTraining(recipe(), { directory, resume: true });
    expect(await readdir(directory)).not.toContain("compiled");
    expect(await measured(directory)).toEqual(await measured(straight));
  });

  it("begins again where it was stopped before anything was saved, and only finishes what is done", async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(runTraining(recipe(), { directory, signal: controller.signal })).rejects.toThrow(
      expect.objectContaining({ code: "ABORTED" }),
    );
    await runTraining(recipe(), { directory });
    const before = await measured(directory);
    await rm(join(directory, "model.safetensors")); // as if it had been killed at the very end
    await runTraining(undefined, { directory, resume: true, reporter: atStep(13, () => expect.unreachable()) });
    expect(await measured(directory)).toEqual(before);
    expect(await readdir(directory)).toContain("model.safetensors");
  });

  it("stops when a loss is not finite, names the step and the value, and keeps the last good checkpoint", async () => {
    const diverging = recipe({ learningRate: 1e30, warmupSteps: 6, minimumLearningRate: 0, clipNorm: 1e30, saveEvery: 1 });
    const error = await runTraining(diverging, { directory }).catch((cause: Error) => cause);
    expect(error).toMatchObject({ code: "NOT_FINITE" });
    const [, step, kept] =
      /^Step (\d+): the loss was .* The last good checkpoint, of step (\d+), is in /.exec((error as Error).message) ?? [];
    expect(Number(kept)).toBe(Number(step) - 1);
    expect((error as Error).message).toMatch(/The first value that was not finite: \S+/);
    const latest = await (await RunDirectory.open(directory)).latestCheckpoint();
    expect(latest?.step).toBe(Number(kept));
    const model = await loadModel(directory, { weights: latest?.modelPath ?? "" });
    for (const parameter of model.parameters().values())
      expect(toNumbers(await parameter.read()).every(Number.isFinite)).toBe(true);
  });

  it("refuses to resume under a recipe that changes the training, and takes one that does not", async () => {
    const controller = new AbortController();
    await runTraining(recipe(), { directory, signal: controller.signal, reporter: atStep(2, () => controller.abort()) });
    await expect(runTraining(recipe({ batchSize: 5, dropout: 0 }), { directory, resume: true })).rejects.toThrow(
      fails("CONFIG", /begun with another recipe:\n {2}training\.batchSize: 4 → 5\n {2}training\.dropout: 0\.1 → 0\n/),
    );
    const messages: string[] = [];
    const reporter = { ...silentReporter, message: (text: string) => messages.push(text) };
    await runTraining(recipe({ saveEvery: 12 }), { directory, resume: true, reporter });
    expect(messages[0]).toBe("The recipe has changed: training.saveEvery: 3 → 12.");
    expect(JSON.parse(await readFile(join(directory, "recipe.json"), "utf8"))).toMatchObject({ training: { saveEvery: 12 } });
  });

  it("records what it was computed on, and asks before it goes on otherwise", async () => {
    const engine = { name: "onnxruntime-node", threads: 2 };
    const stopAt = async (step: number, options: Partial<RunTrainingOptions>, given: RecipeInput | undefined) => {
      const controller = new AbortController();
      const reporter = atStep(step, () => controller.abort());
      const messages: string[] = [];
      const message = (text: string) => messages.push(text);
      await runTraining(given, { directory, signal: controller.signal, reporter: { ...reporter, message }, ...options });
      return messages;
    };
    const entries = async () => (await (await RunDirectory.open(directory)).engines()).map(({ version: _, ...rest }) => rest);
    const first = { fromStep: 0, engine: "onnxruntime-node", device: "cpu", threads: 2, precision: "fp32" };
    await stopAt(2, {}, { ...recipe(), engine });
    expect(await entries()).toEqual([first]);

    // What is left open stays as it was, and nothing is asked.
    await stopAt(3, { resume: true }, { ...recipe(), engine: { threads: 2 } });
    expect(await entries()).toEqual([first]);

    const narrow: RecipeInput = { ...recipe(), engine: { name: "reference", precision: "bf16" } };
    await expect(runTraining(narrow, { directory, resume: true })).rejects.toThrow(
      fails(
        "CONFIG",
        /on onnxruntime-node \S+ on cpu in fp32 so far, .* reference float64 on cpu in bf16: .*--allow-engine-change/,
      ),
    );
    expect(await entries()).toEqual([first]);
    expect(JSON.parse(await readFile(join(directory, "recipe.json"), "utf8")).engine.name).toBe("auto");

    const messages = await stopAt(4, { resume: true, allowEngineChange: true }, narrow);
    expect(messages).toContainEqual(
      expect.stringMatching(/^This run was computed on onnxruntime-node .* from step 4 on it is on reference/),
    );
    const second = { fromStep: 3, engine: "reference", device: "cpu", threads: 1, precision: "bf16" };
    expect(await entries()).toEqual([first, second]);
    expect(messages.join("\n")).toMatch(/^engine +reference float64 on cpu in bf16, 1 threads$/m);

    const back: RecipeInput = { ...recipe(), engine };
    const result = await runTraining(back, { directory, resume: true, allowEngineChange: true });
    expect(result.steps).toBe(12);
    expect(await entries()).toEqual([first, second, { ...first, fromStep: 4 }]);
  });

  it("notices that the text has changed", async () => {
    const controller = new AbortController();
    await runTraining(recipe(), { directory, signal: controller.signal, reporter: atStep(2, () => controller.abort()) });
    await writeFile(textPath, `${await readFile(textPath, "utf8")}the end. `);
    await expect(runTraining(undefined, { directory, resume: true })).rejects.toThrow(fails("DATA", /The text has changed/));
    expect((await (await RunDirectory.open(directory)).latestCheckpoint())?.step).toBe(2);
  });

  it("refuses a truncated checkpoint whole, and leaves it", async () => {
    const controller = new AbortController();
    await runTraining(recipe(), { directory, signal: controller.signal, reporter: atStep(2, () => controller.abort()) });
    const { optimizerPath = "" } = (await (await RunDirectory.open(directory)).latestCheckpoint()) ?? {};
    await truncate(optimizerPath, (await readFile(optimizerPath)).length - 1);
    await expect(runTraining(undefined, { directory, resume: true })).rejects.toThrow(
      fails("CHECKPOINT", /optimizer\.safetensors cannot be read as safetensors: tensor ".*" .*truncated/),
    );
    expect((await measured(directory)).length).toBeGreaterThan(0);
  });

  it("does not write into a run of someone else, or over one without being told", async () => {
    await expect(runTraining(undefined, { directory, resume: true })).rejects.toThrow(fails("ARGUMENT", /There is no run at/));
    await expect(runTraining(undefined, { directory })).rejects.toThrow(fails("ARGUMENT", /needs a recipe/));
    await runTraining(recipe({ steps: 1 }), { directory });
    await expect(runTraining(recipe(), { directory })).rejects.toThrow(
      fails("ARGUMENT", /holds a run already \(saved at step 1\)/),
    );
    await expect(runTraining(recipe(), { directory, resume: true, overwrite: true })).rejects.toThrow(
      fails("ARGUMENT", /either/),
    );
    await writeFile(join(directory, ".lock"), `${process.ppid}\n`);
    await expect(runTraining(recipe(), { directory, overwrite: true })).rejects.toThrow(
      fails("ARGUMENT", /Process \d+ is writing/),
    );
    await writeFile(join(directory, ".lock"), "4194305\n"); // more than a process id can be
    expect((await runTraining(recipe({ steps: 2 }), { directory, overwrite: true })).steps).toBe(2);
    expect((await measured(directory)).at(-1)?.step).toBe(2);
  });

  it.each([
    ["a file that is missing", { data: { files: ["nowhere.txt"] } }, fails("DATA", /There is no file or folder at nowhere\.txt/)],
    [
      "a context longer than the data",
      { training: { context: 4000 } },
      fails("DATA", /The context is 4000 tokens, but only \d+/),
    ],
    [
      "a byte-level vocabulary that is too small",
      { tokenizer: { model: "bpe", vocabSize: 100 } },
      fails("TOKENIZER", /at least 256/),
    ],
    ["a prompt that cannot be encoded", { samples: { prompts: ["Ω"] } }, fails("TOKENIZER", /"Ω"/)],
    ["an engine that does not exist", { engine: { name: "abacus" } }, fails("ARGUMENT", /abacus/)],
    [
      "a precision that the engine does not have",
      { engine: { name: "onnxruntime-node", precision: "bf16" } },
      fails("PRECISION", /pip install openvino/),
    ],
  ] satisfies [string, RecipeInput, unknown][])(
    "refuses %s before anything is written",
    async (_, change: RecipeInput, error) => {
      const given = recipe();
      const changed = { ...given, ...change, training: { ...given.training, ...change.training } };
      await expect(runTraining(changed, { directory })).rejects.toThrow(error);
      expect(await readdir(folder)).toEqual(["text.txt"]);
    },
  );

  it("refuses an empty text", async () => {
    await writeFile(textPath, "");
    await expect(runTraining(recipe(), { directory })).rejects.toThrow(fails("DATA", /is empty/));
  });
});

describe("runTraining of other models", () => {
  const lossesOf = async (path: string) => (await measured(path)).flatMap(({ loss }) => loss ?? []);
  const from = (source: string, training: RecipeInput["training"] = {}): RecipeInput => {
    const { tokenizer: _, ...rest } = recipe({ dropout: 0, learningRate: 1e-3, steps: 6, ...training });
    return { ...rest, model: { architecture: "saved", source } };
  };

  it.each([
    { model_type: "qwen3", hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, head_dim: 8 },
    {
      model_type: "gpt_neox",
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      vocab_size: 50_432,
    },
  ])("trains what a config.json describes, with the tokenizer's vocabulary: %j", async (config) => {
    const { model_type: type } = config;
    await runTraining({ ...recipe({ dropout: 0 }), model: { architecture: "config", config } }, { directory });
    const model = await loadModel(directory);
    expect(model).toMatchObject({ modelType: type, vocabSize: (await loadTokenizer(directory)).vocabSize });
    const losses = await lossesOf(directory);
    expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] as number));
  });

  it("goes on from a saved model, in a run of its own that needs it no more once it has begun", async () => {
    await runTraining(recipe(), { directory });
    const before = (await lossesOf(directory)).at(-1) as number;
    const straight = join(folder, "straight");
    await runTraining(from(directory), { directory: straight });
    const losses = await lossesOf(straight);
    expect(Math.abs((losses[0] as number) - before)).toBeLessThan(0.3);
    expect(losses[0]).toBeLessThan(0.9 * ((await lossesOf(directory))[0] as number)); // not from the beginning
    expect(await parametersOf(straight)).not.toEqual(await parametersOf(directory));

    const stopped = join(folder, "stopped");
    const controller = new AbortController();
    await runTraining(from(directory), {
      directory: stopped,
      signal: controller.signal,
      reporter: atStep(3, () => controller.abort()),
    });
    await rm(directory, { recursive: true });
    await runTraining(undefined, { directory: stopped, resume: true });
    expect(await measured(stopped)).toEqual(await measured(straight));
    expect(await parametersOf(stopped)).toEqual(await parametersOf(straight));
  });

  it("goes on from a run that has not ended, and from a GGUF file", async () => {
    const config = { model_type: "llama", hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2 };
    const controller = new AbortController();
    const bytes = { model: "bpe", vocabSize: 300, preset: "gpt2" } as const;
    await runTraining(
      { ...recipe({ dropout: 0, saveEvery: 5 }), tokenizer: bytes, model: { architecture: "config", config } },
      { directory, signal: controller.signal, reporter: atStep(8, () => controller.abort()) },
    );
    const reached = (await lossesOf(directory)).at(-1) as number;
    const checkpoint = (await (await RunDirectory.open(directory)).latestCheckpoint())?.modelPath as string;
    const file = join(folder, "whale.gguf");
    await exportGguf(
      await loadModel(directory, { kind: "causal-lm", weights: checkpoint }),
      await loadTokenizer(directory),
      file,
    );
    for (const [i, source] of [directory, file].entries()) {
      const next = join(folder, `next-${i}`);
      await runTraining(from(source, { steps: 2 }), { directory: next });
      expect(Math.abs(((await lossesOf(next))[0] as number) - reached)).toBeLessThan(0.5);
    }
    const [one, other] = [await parametersOf(join(folder, "next-0")), await parametersOf(join(folder, "next-1"))];
    expect(one.map((values) => values.length).sort()).toEqual(other.map((values) => values.length).sort());
  });

  it("refuses a model that does not fit, before anything is written", async () => {
    await runTraining(recipe({ steps: 1 }), { directory });
    const next = { directory: join(folder, "next") };
    await expect(runTraining(from(directory, { context: 17 }), next)).rejects.toThrow(
      fails("CONFIG", /training\.context: 17 was given, expected at most 16, which the model reads/),
    );
    const bytes = { model: "bpe", vocabSize: 300 } as const;
    await expect(runTraining({ ...from(directory), tokenizer: bytes }, next)).rejects.toThrow(
      fails("CONFIG", /tokenizer: one of 2\d\d tokens was given, expected at most \d+, for which the model was made/),
    );
    await expect(runTraining(from(join(folder, "nowhere")), next)).rejects.toThrow(
      fails("CONFIG", /nowhere is not a saved model/),
    );
    const config = { model_type: "qwen9" };
    await expect(runTraining({ ...recipe({ dropout: 0 }), model: { architecture: "config", config } }, next)).rejects.toThrow(
      fails("CONFIG", /model\.config has model_type "qwen9"; known are gpt2,/),
    );
    await expect(readdir(next.directory)).rejects.toThrow(/ENOENT/);
    const saved = await parametersOf(directory);
    await expect(runTraining(from(directory), { directory, overwrite: true })).rejects.toThrow(
      fails("ARGUMENT", /cannot be kept where the model is that it begins with/),
    );
    expect(await parametersOf(directory)).toEqual(saved);
  });
});
