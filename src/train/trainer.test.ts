import { describe, expect, it } from "vitest";
import { type DataSource, ignoredLabel, type TokenBatch } from "../data/data-source.js";
import { packed } from "../data/packed.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { type HostArray, hostArray } from "../graph/host-array.js";
import { zLoss } from "../graph/ops/loss.js";
import type { CausalLM } from "../models/causal-lm.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { AdamW } from "../optim/adamw.js";
import { compile, int32 } from "../program/index.js";
import { trainTokenizer } from "../tokenizer/train.js";
import { causalTask } from "./objectives/causal-lm.js";
import { type StepMetrics, Trainer, type TrainerOptions } from "./trainer.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const text = "the cat sat on the mat. the dog sat on the log. ".repeat(12);
const tokenizer = await trainTokenizer(text, { model: "character" });
const context = 8;
/** 61 windows an epoch: no multiple of the batch sizes. */
const data = packed(text, tokenizer, { context });

const modelOf = (options: Partial<ConstructorParameters<typeof GPT2>[0]> = {}) =>
  new GPT2({ vocabSize: tokenizer.vocabSize, nEmbd: 16, nLayer: 1, nHead: 2, nPositions: context, ...options });

const settings: TrainerOptions = { steps: 30, learningRate: 0.01, batchSize: 5, seed: 3, engine };

async function steps(trainer: Trainer, count: number): Promise<StepMetrics[]> {
  const metrics: StepMetrics[] = [];
  for (let i = 0; i < count; i++) metrics.push(await trainer.step());
  return metrics;
}

const lossesOf = (metrics: readonly StepMetrics[]) => metrics.map(({ loss, gradientNorm }) => [loss, gradientNorm]);

const trainerOf = (model: CausalLM, source: DataSource, options: TrainerOptions, zLoss = 0) =>
  new Trainer(model, causalTask(model, source, { zLoss }), options);

const valuesOf = async (model: CausalLM) =>
  new Map(
    await Promise.all([...model.variables()].map(async ([path, variable]) => [path, (await variable.read()).data] as const)),
  );

describe("a trainer", () => {
  it("learns: the loss falls, on the validation part too", async () => {
    const trainer = trainerOf(modelOf(), data, settings);
    const before = await trainer.validate();
    expect(before.step).toBe(0);
    expect(before.loss).toBeCloseTo(Math.log(tokenizer.vocabSize), 0);
    const metrics = await steps(trainer, 30);
    const after = await trainer.validate();
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect((metrics.at(-1) as StepMetrics).loss).toBeLessThan(0.7 * (metrics[0] as StepMetrics).loss);
    expect(after.loss).toBeLessThan(0.7 * before.loss);
    expect(after.step).toBe(30);
    // The text is ASCII: a token is a byte.
    expect(after.metrics.bitsPerByte).toBeCloseTo(after.loss / Math.LN2, 5);
    await trainer.release();
  });

  it("follows its schedule: warm-up, cosine, a tenth at the end; or one of its own", async () => {
    const trainer = trainerOf(modelOf(), data, { ...settings, steps: 10, warmupSteps: 2 });
    const rates = (await steps(trainer, 10)).map(({ learningRate }) => learningRate);
    for (const [i, rate] of [0.01 / 3, 0.02 / 3, 0.01].entries()) expect(rates[i]).toBeCloseTo(rate, 12);
    for (let i = 3; i < 10; i++) expect(rates[i]).toBeLessThan(rates[i - 1] as number);
    expect(rates[9]).toBeGreaterThan(0.001);
    expect(rates[9]).toBeLessThan(0.0015);
    await trainer.release();
    const own = trainerOf(modelOf(), data, { ...settings, learningRate: (step) => (step + 1) / 1000 });
    expect((await steps(own, 3)).map(({ learningRate }) => learningRate)).toEqual([0.001, 0.002, 0.003]);
    await own.release();
  });

  it.each([1, 3])(
    "with the same seed has the same losses, bit for bit, dropout included (accumulation: %i)",
    async (accumulation) => {
      const run = async (seed: number) => {
        const trainer = trainerOf(modelOf({ attnPdrop: 0.1, residPdrop: 0.2, embdPdrop: 0.1 }), data, {
          ...settings,
          accumulation,
          seed,
        });
        const losses = lossesOf(await steps(trainer, 5));
        await trainer.release();
        return losses;
      };
      const first = await run(1);
      expect(await run(1)).toEqual(first);
      expect(await run(2)).not.toEqual(first);
    },
  );

  it.each([1, 3])("goes on from a saved state to the same losses, bit for bit (accumulation: %i)", async (accumulation) => {
    const options = { ...settings, accumulation };
    const make = () => {
      const model = modelOf({ residPdrop: 0.2 });
      return { model, trainer: trainerOf(model, data, options) };
    };
    const straight = make();
    const expected = await steps(straight.trainer, 16); // with 61 windows, 5 at a time: more than an epoch
    const interrupted = make();
    await steps(interrupted.trainer, 7);
    const saved = new Map<string, HostArray>();
    for (const [path, variable] of [...interrupted.model.variables(), ...interrupted.trainer.optimizerVariables])
      saved.set(path, await variable.read());
    const state = JSON.parse(JSON.stringify(interrupted.trainer.state)) as typeof interrupted.trainer.state;
    expect(state.step).toBe(7);

    const resumed = make();
    for (const [path, variable] of [...resumed.model.variables(), ...resumed.trainer.optimizerVariables])
      variable.write(saved.get(path) as HostArray);
    resumed.trainer.restore(state);
    const rest = await steps(resumed.trainer, 9);
    expect(rest.map(({ step }) => step)).toEqual(expected.slice(7).map(({ step }) => step));
    expect(lossesOf(rest)).toEqual(lossesOf(expected.slice(7)));
    expect(await valuesOf(resumed.model)).toEqual(await valuesOf(straight.model));
    for (const { trainer } of [straight, interrupted, resumed]) await trainer.release();
    expect(() => make().trainer.restore({ ...state, seed: 4 })).toThrow(expect.objectContaining({ code: "STATE" }));
  });

  it("accumulates small batches to what one large batch does", async () => {
    const run = async (batchSize: number, accumulation: number) => {
      const model = modelOf();
      const trainer = trainerOf(model, data, { ...settings, batchSize, accumulation, steps: 3 });
      const metrics = await steps(trainer, 3);
      const values = await valuesOf(model);
      await trainer.release();
      return { metrics, values };
    };
    const [large, small] = [await run(12, 1), await run(4, 3)];
    for (const [i, { loss, gradientNorm, units }] of large.metrics.entries()) {
      const other = small.metrics[i] as StepMetrics;
      expect(other.loss).toBeCloseTo(loss, 5);
      expect(other.gradientNorm).toBeCloseTo(gradientNorm, 4);
      expect(other.units).toBe(units);
    }
    for (const [path, values] of large.values)
      for (const [i, value] of (values as Float32Array).entries())
        expect((small.values.get(path) as Float32Array)[i]).toBeCloseTo(value, 3);
  });

  it.each([1, 3])("adds a z-loss to what it makes small, and reports it apart (accumulation: %i)", async (accumulation) => {
    const run = async (zLoss: number) => {
      const model = modelOf();
      const trainer = trainerOf(model, data, { ...settings, batchSize: 12 / accumulation, accumulation }, zLoss);
      const metrics = await steps(trainer, 30);
      const validation = await trainer.validate();
      await trainer.release();
      return { model, metrics, validation };
    };
    const [without, tied] = [await run(0), await run(0.3)];
    for (const { auxiliaryLoss } of without.metrics) expect(auxiliaryLoss).toBeUndefined();
    // What the definition says of the first batch, whose weights are the initial ones.
    const { batch } = data.batch({ seed: 3, epoch: 0, window: 0 }, 12);
    const fresh = modelOf();
    fresh.initialize(3);
    const byDefinition = async (model: CausalLM) => {
      await using program = compile(
        ({ ids }) => ({ squares: zLoss(model.forward(ids), 0.3) }),
        { ids: int32(12, context) },
        { engine },
      );
      return (await program({ ids: batch.ids })).squares.item();
    };
    const [first, last] = [tied.metrics[0], tied.metrics.at(-1)] as [StepMetrics, StepMetrics];
    expect(first.auxiliaryLoss).toBeCloseTo(await byDefinition(fresh), 4);
    expect(first.loss).toBeCloseTo((without.metrics[0] as StepMetrics).loss, 5); // cross-entropy alone
    expect(first.gradientNorm).not.toBeCloseTo((without.metrics[0] as StepMetrics).gradientNorm, 2);
    expect(last.auxiliaryLoss).toBeLessThan(0.5 * (first.auxiliaryLoss as number));
    expect(await byDefinition(tied.model)).toBeLessThan(0.5 * (await byDefinition(without.model)));
    // Validation is cross-entropy: with the z-loss it would be far from that of the last steps.
    expect(tied.validation.loss).toBeLessThan(last.loss + 0.5 * (last.auxiliaryLoss as number) + 0.05);
  });

  it.each([-1e-4, Number.NaN, Number.POSITIVE_INFINITY])("refuses a weight of the z-loss of %d", (zLoss) => {
    expect(() => trainerOf(modelOf(), data, settings, zLoss)).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringContaining("zLoss") }),
    );
  });

  it("counts only the tokens of a ragged last batch, and its loss is their mean", async () => {
    const trainer = trainerOf(modelOf(), data, { ...settings, batchSize: 50, learningRate: () => 0 });
    const perEpoch = data.batchesPerEpoch(50);
    expect(perEpoch).toBe(2);
    const [full, ragged, next] = await steps(trainer, 3);
    expect(full?.units).toBe(50 * context);
    expect(ragged?.units).toBeLessThan(50 * context);
    expect(ragged?.units).toBeGreaterThan(0);
    expect(next?.units).toBe(50 * context);
    for (const metrics of [full, ragged, next]) expect(metrics?.loss).toBeCloseTo(Math.log(tokenizer.vocabSize), 0);
    await trainer.release();
  });

  it("validates every token once, whatever the batch size, and changes nothing", async () => {
    const model = modelOf({ residPdrop: 0.5 });
    const losses = [];
    for (const batchSize of [1, 3, 7]) {
      const trainer = trainerOf(model, data, { ...settings, batchSize });
      const before = await valuesOf(model);
      losses.push((await trainer.validate()).loss);
      expect(await valuesOf(model)).toEqual(before);
      await trainer.release();
    }
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0] as number, 5);
  });

  it("trains with an optimizer of one's own, and leaves frozen parameters alone", async () => {
    const model = modelOf();
    model.initialize(3);
    model.freeze(/^h\.0\.attn\./);
    const before = await valuesOf(model);
    const optimizer = new AdamW(model, { groups: [{ match: /wpe/, learningRateScale: 0, weightDecay: 0 }] });
    const trainer = trainerOf(model, data, { ...settings, optimizer });
    expect(trainer.optimizer).toBe(optimizer);
    await steps(trainer, 3);
    const changed = [...(await valuesOf(model))]
      .filter(([path, values]) => String(values) !== String(before.get(path)))
      .map(([path]) => path);
    expect(changed.some((path) => /^h\.0\.attn\.|^wpe/.test(path))).toBe(false);
    expect(changed).toContain("h.0.mlp.cFc.weight");
    await trainer.release();
  });

  it.each([1, 2])(
    "stops at a loss that is not finite, names step and value, and keeps the weights (accumulation: %i)",
    async (accumulation) => {
      const model = modelOf();
      const trainer = trainerOf(model, data, { ...settings, accumulation });
      await steps(trainer, 2);
      const norm = model.h[0]?.ln2.weight;
      const good = (await norm?.read()) as HostArray;
      norm?.write(hostArray("float32", [16], new Float32Array(16).fill(Number.NaN)));
      const [before, state] = [await valuesOf(model), trainer.state];
      const optimizerBefore = await valuesOf({ variables: () => trainer.optimizerVariables } as CausalLM);
      for (let i = 0; i < 2; i++) {
        await expect(trainer.step()).rejects.toMatchObject({
          code: "NOT_FINITE",
          message: expect.stringMatching(
            /^Step 3: the loss was NaN.*first value that was not finite: h\.0\.ln2\.weight float32\[16\]/s,
          ),
        });
        expect(await valuesOf(model)).toEqual(before);
        expect(await valuesOf({ variables: () => trainer.optimizerVariables } as CausalLM)).toEqual(optimizerBefore);
        expect(trainer.state).toEqual(state);
      }
      // Put right, it goes on as if nothing had happened.
      norm?.write(good);
      const next = await trainer.step();
      const [, , expected] = await steps(trainerOf(modelOf(), data, { ...settings, accumulation }), 3);
      expect([next.step, next.loss, next.gradientNorm]).toEqual([3, expected?.loss, expected?.gradientNorm]);
      await trainer.release();
    },
  );

  it.each([1, 2])("stops at a gradient that is not finite although the loss is (accumulation: %i)", async (accumulation) => {
    // Float32 holds the loss, but not the square of its gradient.
    const model = modelOf();
    const trainer = trainerOf(model, data, { ...settings, accumulation });
    model.initialize(3);
    const projection = model.h[0]?.mlp.cProj.weight;
    const up = model.h[0]?.mlp.cFc.weight;
    projection?.write(hostArray("float32", projection.shape, new Float32Array(64 * 16).fill(3e-25)));
    up?.write(
      hostArray(
        "float32",
        up.shape,
        new Float32Array(16 * 64).map((_, i) => 1e24 * Math.sin(i)),
      ),
    );
    const before = await valuesOf(model);
    await expect(trainer.step()).rejects.toMatchObject({
      code: "NOT_FINITE",
      message: expect.stringMatching(/the loss was \d.*gradient's norm (Infinity|NaN)/),
    });
    expect(await valuesOf(model)).toEqual(before);
    await trainer.release();
  });

  it("does not begin a step after an abort, and can go on afterwards", async () => {
    for (const accumulation of [1, 2]) {
      const trainer = trainerOf(modelOf(), data, { ...settings, accumulation });
      await steps(trainer, 1);
      const controller = new AbortController();
      controller.abort();
      await expect(trainer.step(controller.signal)).rejects.toMatchObject({ code: "ABORTED" });
      await expect(trainer.validate({ signal: controller.signal })).rejects.toMatchObject({ code: "ABORTED" });
      expect(trainer.stepsDone).toBe(1);
      const reference = trainerOf(modelOf(), data, { ...settings, accumulation });
      const expected = await steps(reference, 2);
      expect(lossesOf([await trainer.step()])).toEqual(lossesOf(expected.slice(1)));
      await Promise.all([trainer.release(), reference.release()]);
    }
  });

  it("takes data of any kind: labels may be ignored everywhere", async () => {
    const batch: TokenBatch = {
      ids: hostArray("int32", [2, 4], new Int32Array(8)),
      labels: hostArray("int32", [2, 4], new Int32Array(8).fill(ignoredLabel)),
    };
    const nothing: DataSource = {
      context: 4,
      vocabSize: 3,
      validationTokenCount: 0,
      validationBytes: 0,
      batch: (position) => ({ batch, next: position }),
      batchesPerEpoch: () => 1,
      validation: () => [],
    };
    const model = modelOf();
    const trainer = trainerOf(model, nothing, { ...settings, weightDecay: 0 });
    const before = await valuesOf(model);
    expect(await trainer.step()).toMatchObject({ loss: 0, gradientNorm: 0, units: 0 });
    expect(await valuesOf(model)).toEqual(before);
    await expect(trainer.validate()).rejects.toMatchObject({ code: "DATA" });
    await trainer.release();
  });

  it.each([
    ["no steps", { steps: 0 }, /at least 1 for steps/],
    ["half a batch", { batchSize: 0.5 }, /for batchSize/],
    ["no micro-steps", { accumulation: 0 }, /for accumulation/],
    ["no learning rate", { learningRate: 0 }, /learning rate lies above 0/],
    ["a learning rate that is no number", { learningRate: Number.NaN }, /learning rate lies above 0/],
    ["a minimum above the peak", { minimumLearningRate: 1 }, /above the peak/],
    ["a norm of 0 to clip to", { clipNorm: 0 }, /clipNorm is 0/],
  ] as readonly [string, Partial<TrainerOptions>, RegExp][])("refuses %s", (_, options, message) => {
    expect(() => trainerOf(modelOf(), data, { ...settings, ...options })).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringMatching(message) }),
    );
  });

  it("refuses data that does not fit the model", () => {
    expect(() => trainerOf(modelOf({ vocabSize: 5 }), data, settings)).toThrow(
      /vocabulary ends at 4: make it with vocabSize \d+/,
    );
    expect(() => trainerOf(modelOf({ nPositions: 4 }), data, settings)).toThrow(/windows of 8 tokens, but the model looks at 4/);
  });
});
