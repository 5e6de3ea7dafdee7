import { describe, expect, it } from "vitest";
import { packed } from "../data/packed.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { hostArray } from "../graph/host-array.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { trainTokenizer } from "../tokenizer/train.js";
import type { Reporter } from "./reporter.js";
import { type TrainOptions, train } from "./train.js";
import type { Trainer } from "./trainer.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const text = "a stitch in time saves nine, said the tailor. ".repeat(10);
const tokenizer = await trainTokenizer(text, { model: "character" });
const data = packed(text, tokenizer, { context: 8 });
const modelOf = () => new GPT2({ vocabSize: tokenizer.vocabSize, nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 8 });
const settings: TrainOptions = { steps: 10, learningRate: 0.01, batchSize: 4, engine };

/** A reporter that writes down what it is told. */
function notes(): { reporter: Reporter; told: string[] } {
  const told: string[] = [];
  return {
    told,
    reporter: {
      start: (total, start) => told.push(`start ${start}/${total}`),
      step: ({ step }) => told.push(`step ${step}`),
      message: (line) => told.push(line.replace(/[\d.]+ nats.*/, "…")),
      finish: () => told.push("finish"),
    },
  };
}

describe("train", () => {
  it("trains, validates, saves and reports in order", async () => {
    const { reporter, told } = notes();
    const losses: number[] = [];
    const result = await train(modelOf(), data, {
      ...settings,
      steps: 5,
      validateEvery: 2,
      saveEvery: 3,
      reporter,
      onStart: () => void told.push("begin"),
      onStep: async ({ loss }) => void losses.push(loss),
      onValidation: ({ step }) => void told.push(`validated ${step}`),
      onSave: (trainer) => void told.push(`save ${trainer.stepsDone}`),
    });
    expect(told).toEqual([
      "begin",
      "start 0/5",
      "step 1",
      "step 2",
      "step 2: validation loss …",
      "validated 2",
      "step 3",
      "save 3",
      "step 4",
      "step 4: validation loss …",
      "validated 4",
      "step 5",
      "step 5: validation loss …",
      "validated 5",
      "save 5",
      "finish",
    ]);
    expect(result).toMatchObject({ steps: 5, stopped: false, loss: losses.at(-1), validation: { step: 5 } });
  });

  it("returns the mean loss of the last tenth", async () => {
    const losses: number[] = [];
    const { loss } = await train(modelOf(), data, {
      ...settings,
      steps: 15,
      onStep: (metrics) => void losses.push(metrics.loss),
    });
    expect(loss).toBeCloseTo(((losses[13] as number) + (losses[14] as number)) / 2, 10);
    expect(loss).toBeLessThan(losses[0] as number);
  });

  it("needs no validation part", async () => {
    const whole = packed(text, tokenizer, { context: 8, validationShare: 0 });
    const saved: number[] = [];
    const result = await train(modelOf(), whole, {
      ...settings,
      steps: 2,
      onSave: (trainer) => void saved.push(trainer.stepsDone),
    });
    expect(result).toMatchObject({ steps: 2, stopped: false, validation: undefined });
    expect(saved).toEqual([2]);
  });

  it("stops after the step that is under way when it is told to, and saves", async () => {
    const controller = new AbortController();
    const { reporter, told } = notes();
    const result = await train(modelOf(), data, {
      ...settings,
      signal: controller.signal,
      reporter,
      onStep: ({ step }) => {
        if (step === 3) controller.abort();
      },
      onSave: (trainer) => void told.push(`save ${trainer.stepsDone}`),
    });
    expect(result).toMatchObject({ steps: 3, stopped: true, validation: undefined });
    expect(told.slice(-3)).toEqual(["step 3", "save 3", "finish"]);
    const before = await train(modelOf(), data, { ...settings, signal: AbortSignal.abort() });
    expect(before).toMatchObject({ steps: 0, stopped: true });
    expect(before.loss).toBeNaN();
  });

  it("lets timers run between steps", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await train(modelOf(), data, settings);
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(5);
  });

  it("goes on where a saved state ends, to the same losses", async () => {
    const run = async (options: Partial<TrainOptions>, model = modelOf()) => {
      const losses: number[] = [];
      await train(model, data, { ...settings, ...options, onStep: ({ loss }) => void losses.push(loss) });
      return losses;
    };
    const straight = await run({});
    const model = modelOf();
    const controller = new AbortController();
    let saved: (trainer: Trainer) => Promise<void> = async () => {};
    const first: number[] = [];
    await train(model, data, {
      ...settings,
      signal: controller.signal,
      onStep: ({ step, loss }) => {
        first.push(loss);
        if (step === 4) controller.abort();
      },
      async onSave(trainer) {
        const { state } = trainer;
        const values = new Map<string, Awaited<ReturnType<(typeof model.wte.weight)["read"]>>>();
        for (const [name, variable] of [...model.variables(), ...trainer.optimizerVariables])
          values.set(name, await variable.read());
        saved = async (other) => {
          for (const [name, variable] of [...resumed.variables(), ...other.optimizerVariables])
            variable.write(values.get(name) as never);
          other.restore(state);
        };
      },
    });
    const resumed = modelOf();
    const { reporter, told } = notes();
    const rest = await run({ onStart: (trainer) => saved(trainer), reporter }, resumed);
    expect([...first, ...rest]).toEqual(straight);
    expect(told[0]).toBe("start 4/10");
  });

  it("that fails neither saves nor leaves its reporter running", async () => {
    const model = modelOf();
    const { reporter, told } = notes();
    const running = train(model, data, {
      ...settings,
      saveEvery: 2,
      reporter,
      onStep: ({ step }) => {
        if (step === 3) model.lnF.weight.write(hostArray("float32", [8], new Float32Array(8).fill(Number.POSITIVE_INFINITY)));
      },
      onSave: (trainer) => void told.push(`save ${trainer.stepsDone}`),
    });
    await expect(running).rejects.toMatchObject({
      code: "NOT_FINITE",
      message: expect.stringMatching(/^Step 4: .*lnF\.weight/s),
    });
    expect(told).toEqual(["start 0/10", "step 1", "step 2", "save 2", "step 3", "finish"]);
    const { reporter: other, told: heard } = notes();
    const failing = train(modelOf(), data, {
      ...settings,
      reporter: other,
      onStep: () => Promise.reject(new Error("disk full")),
    });
    await expect(failing).rejects.toThrow("disk full");
    expect(heard).toEqual(["start 0/10", "step 1", "finish"]);
  });
});
