/** Laws that every tuning method keeps. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { type Tensor, toNumbers } from "../graph/index.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { Embedding, Linear } from "../nn/linear.js";
import { linearLogits } from "../nn/linear-cross-entropy.js";
import { Module } from "../nn/module.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "../program/compile.js";
import { applyTuning, bitfit, ia3, loadAdapter, lora, type TuningSettings, tuningMethods } from "./index.js";
import { signature, valuesOf } from "./testing/peft-cases.js";

const engine = referenceEngine();
const folder = mkdtempSync(join(tmpdir(), "tsumiki-tuning-"));
afterAll(() => rmSync(folder, { recursive: true }));

const tiny = () => new GPT2({ vocabSize: 11, nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 16 }).initialize(3);
const batch = { ids: [[1, 2, 3, 4]], labels: [[2, 3, 4, 5]] };

/** Further settings of a method, where it has ones that compute in another way. */
const variants: readonly TuningSettings[] = [
  ...tuningMethods().map(({ name }) => ({ method: name })),
  { method: "lora", rank: 2, useDora: true, dropout: 0.2 },
  { method: "lora", targets: ["wte"], ensureWeightTying: true },
  { method: "lora", alsoTrain: "cProj" },
];

describe.each(variants.map((settings) => [JSON.stringify(settings), settings] as const))("%s", async (_, settings) => {
  const model = tiny();
  const names = [...model.variables().keys()];
  const before = await valuesOf(model.variables());
  const program = compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: signature.ids }, { engine });
  const logits = async () => toNumbers((await program({ ids: batch.ids })).logits);
  const plain = await logits();
  const adapter = applyTuning(model, settings, { seed: 1 });

  const close = (actual: readonly number[] | ArrayLike<number>, expected: ArrayLike<number>) => {
    for (let i = 0; i < expected.length; i++) expect(actual[i]).toBeCloseTo(expected[i] as number, 5);
  };

  it("begins as the model itself", async () => close(await logits(), plain));

  it("learns without a change of the model", async () => {
    const optimizer = new AdamW(adapter, { weightDecay: 0 });
    await using step = compile(
      ({ ids, labels }) => {
        const loss = model.loss(ids, labels);
        optimizer.update(loss, { learningRate: 0.05 });
        return { loss };
      },
      signature,
      { engine },
    );
    const first = (await step(batch)).loss.item();
    for (let i = 0; i < 6; i++) await step(batch);
    expect((await step(batch)).loss.item()).toBeLessThan(first - 1e-3);
    expect(await logits()).not.toEqual(plain);
    expect(await valuesOf(model.variables())).toEqual(before);
    expect([...model.variables().keys()]).toEqual(names);
    // Nothing that is trained has been left out of the computation.
    const moments = [...optimizer.variables()].filter(([name]) => name.startsWith("secondMoment"));
    for (const [, moment] of moments) expect(toNumbers(await moment.read()).some((value) => value > 0)).toBe(true);
  });

  it("is saved and loaded", async () => {
    const directory = join(folder, settings.method + variants.indexOf(settings));
    await adapter.save(directory);
    const other = tiny();
    const again = await loadAdapter(other, directory);
    expect(again.method).toBe(settings.method);
    expect(await valuesOf(again.variables())).toEqual(await valuesOf(adapter.variables()));
    await using copied = compile(({ ids }) => ({ logits: other.forward(ids) }), { ids: signature.ids }, { engine });
    expect(toNumbers((await copied({ ids: batch.ids })).logits)).toEqual(await logits());
  });

  it("becomes part of the model, and comes off again without a trace", async () => {
    const tuned = await logits();
    expect(adapter.unmergeable).toBeUndefined();
    await adapter.merge(engine);
    close(await logits(), tuned);
    adapter.unmerge();
    expect(await logits()).toEqual(tuned);
    adapter.detach();
    expect(await logits()).toEqual(plain);
    expect(await valuesOf(model.variables())).toEqual(before);
    expect([...model.parameters().values()].every(({ trainable }) => trainable)).toBe(true);
  });
});

it("BitFit trains every bias, and (IA)3 keys, values and feed-forward blocks", () => {
  expect([...bitfit(tiny()).parameters().keys()].map((path) => path.replace(/^sites\.|\.trained\.bias$/g, ""))).toEqual(
    [...tiny().parameters().keys()].filter((path) => path.endsWith("bias")).map((path) => path.replace(/\.bias$/, "")),
  );
  expect([...ia3(tiny()).sites.keys()]).toEqual(["h.0.attn.cAttn", "h.0.mlp.cProj"]);
});

it("a weight that a program uses in two ways takes no change of one of them, whatever its model says", async () => {
  class Tied extends Module {
    readonly table = new Embedding(5, 4);
    forward(ids: Tensor): Tensor {
      return linearLogits(this.table.forward(ids), this.table);
    }
  }
  const tied = new Tied();
  const adapter = lora(tied, { targets: "table" });
  compile(({ ids }) => ({ y: tied.forward(ids) }), { ids: signature.ids }, { engine });
  await expect(adapter.merge(engine)).rejects.toThrow(/table shares its weight with another layer/);
});

it("refuse models that they cannot tune", () => {
  class Plain extends Module {
    readonly linear = new Linear(2, 2, { bias: false });
  }
  expect(() => bitfit(new Plain())).toThrow(/Plain has no biases/);
  expect(() => ia3(new Plain())).toThrow(/No module that can be adapted matches/);
});
