/** Training on OpenVINO: the same bits each time, and a run that changes engines goes on where it was. */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packed } from "../../data/packed.js";
import type { HostArray } from "../../graph/host-array.js";
import type { Variable } from "../../graph/variable.js";
import { Llama } from "../../models/decoders/llama.js";
import { trainTokenizer } from "../../tokenizer/train.js";
import { causalTask } from "../../train/objectives/causal-lm.js";
import { Trainer, type TrainerOptions } from "../../train/trainer.js";
import type { Engine } from "../engine.js";
import { onnxRuntimeNode } from "../onnxruntime/node.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const absent = await whyNoOpenVino();

const text = "the cat sat on the mat. the dog sat on the log. a frog in the bog saw a hog in the fog. ".repeat(60);
const tokenizer = await trainTokenizer(text, { model: "character" });
// Longer than a block of attention, and large enough for two threads to share a product.
const context = 160;
const data = packed(text, tokenizer, { context });
const settings: Omit<TrainerOptions, "engine"> = { steps: 12, learningRate: 0.003, batchSize: 4, seed: 5, clipNorm: 1 };

const makeModel = () =>
  new Llama({
    vocabSize: tokenizer.vocabSize,
    hiddenSize: 64,
    intermediateSize: 176,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    maxPositionEmbeddings: context,
    tieWordEmbeddings: true,
  });

interface Saved {
  readonly state: Trainer["state"];
  readonly values: ReadonlyMap<string, HostArray>;
}

const variablesOf = (model: Llama, trainer: Trainer): ReadonlyMap<string, Variable> =>
  new Map([...model.variables(), ...trainer.optimizerVariables]);

/** Some steps on an engine, from the beginning or from where another trainer was. */
async function trainOn(
  engine: Engine,
  count: number,
  from?: Saved,
): Promise<{ readonly losses: number[]; readonly saved: Saved }> {
  const model = makeModel();
  const trainer = new Trainer(model, causalTask(model, data), { ...settings, engine });
  if (from) {
    for (const [name, variable] of variablesOf(model, trainer)) variable.write(from.values.get(name) as HostArray);
    trainer.restore(from.state);
  }
  const losses: number[] = [];
  for (let i = 0; i < count; i++) losses.push((await trainer.step()).loss);
  const values = new Map<string, HostArray>();
  for (const [name, variable] of variablesOf(model, trainer)) values.set(name, await variable.read());
  const { state } = trainer;
  await trainer.release();
  return { losses, saved: { state, values } };
}

describe.skipIf(absent)(absent ?? "training on OpenVINO", () => {
  let onOpenVino: Engine;
  let onOnnxRuntime: Engine;
  let straight: Awaited<ReturnType<typeof trainOn>>;
  beforeAll(async () => {
    onOpenVino = await openVino({ threads: 2 });
    onOnnxRuntime = await onnxRuntimeNode({ threads: 2 });
    straight = await trainOn(onOpenVino, 12);
  });
  afterAll(async () => {
    await onOpenVino?.close();
    await onOnnxRuntime?.close();
  });

  it("learns", () => {
    expect(straight.losses.at(-1)).toBeLessThan(0.9 * (straight.losses[0] as number));
  });

  it("computes the losses that ONNX Runtime computes", async () => {
    const { losses } = await trainOn(onOnnxRuntime, 12);
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (straight.losses[i] as number))).toBeLessThan(1e-3);
  });

  it("gives the same bits again, losses and weights, on an engine of its own too", async () => {
    expect(await trainOn(onOpenVino, 12)).toEqual(straight);
    const other = await openVino({ threads: 2 });
    expect(await trainOn(other, 12)).toEqual(straight);
    await other.close();
  });

  it("gives the same bits from a program that was compiled before", async () => {
    const cacheFolder = mkdtempSync(join(tmpdir(), "tsumiki-compiled-"));
    try {
      for (let i = 0; i < 2; i++) {
        const engine = await openVino({ threads: 2, cacheFolder });
        expect(await trainOn(engine, 12)).toEqual(straight);
        await engine.close();
        expect(readdirSync(cacheFolder)).toHaveLength(1);
      }
    } finally {
      rmSync(cacheFolder, { recursive: true });
    }
  });

  it("goes on after a pause to the same bits", async () => {
    const before = await trainOn(onOpenVino, 5);
    const after = await trainOn(onOpenVino, 7, before.saved);
    expect([...before.losses, ...after.losses]).toEqual(straight.losses);
    expect(after.saved).toEqual(straight.saved);
  });

  it("goes on on ONNX Runtime, and from there again on OpenVINO", async () => {
    const first = await trainOn(onOpenVino, 4);
    const second = await trainOn(onOnnxRuntime, 4, first.saved);
    const third = await trainOn(onOpenVino, 4, second.saved);
    const losses = [...first.losses, ...second.losses, ...third.losses];
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - (straight.losses[i] as number))).toBeLessThan(1e-3);
  });
});
