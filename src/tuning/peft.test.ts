/** Adapters of Python's peft: loaded, computed, written again. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { crossEntropy, grad, type HostArray, type Parameter, square, sum, type Tensor, type Variable } from "../graph/index.js";
import { loadModel, saveModel } from "../models/index.js";
import { Conv2d } from "../nn/conv.js";
import { Module } from "../nn/module.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "../program/compile.js";
import { float32, int32 } from "../program/signature.js";
import { type Adapter, Lora, loadAdapter, lora, withoutAdapters } from "./index.js";
import { difference, factorsOf, golden, modelOf, signature, tensorsOf, valuesOf } from "./testing/peft-cases.js";

const engine = referenceEngine();
const folder = mkdtempSync(join(tmpdir(), "tsumiki-peft-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(["gpt2", "llama", "tied", "tied-head", "dora-gpt2", "dora-llama", "ia3-gpt2", "ia3-llama"])(
  "peft's adapter of %s",
  async (name) => {
    const expected = tensorsOf(golden(`${name}/expected.safetensors`));
    const batch = { ids: expected.get("ids") as HostArray<"int32">, labels: expected.get("labels") as HostArray<"int32"> };
    const model = await modelOf(name);
    const names = [...model.variables().keys()];
    const adapter = await loadAdapter(model, golden(`${name}/adapter`));

    it("gives peft's logits, loss and gradients", async () => {
      const factors = factorsOf(adapter);
      await using program = compile(
        ({ ids, labels }) => {
          const loss = model.loss(ids, labels);
          const gradients = grad(loss, [...factors.values()]);
          return {
            loss,
            logits: model.forward(ids),
            base: adapter.without(() => model.forward(ids)),
            reference: withoutAdapters(() => model.forward(ids)),
            ...Object.fromEntries([...factors.keys()].map((factor, i) => [factor, gradients[i] as Tensor])),
          };
        },
        signature,
        { engine, specialize: true },
      );
      const results: Readonly<Record<string, HostArray>> = await program(batch);
      for (const result of ["logits", "loss"])
        expect(difference(results[result] as HostArray, expected.get(result)), result).toBeLessThan(1e-5);
      for (const result of ["base", "reference"])
        expect(difference(results[result] as HostArray, expected.get("logits.base")), result).toBeLessThan(1e-5);
      expect(factors.size).toBeGreaterThan(2);
      for (const factor of factors.keys())
        expect(difference(results[factor] as HostArray, expected.get(`gradient.${factor}`)), factor).toBeLessThan(1e-5);
    });

    it("computes losses in chunks, in training, as in one piece", async () => {
      const factors = factorsOf(adapter);
      await using program = compile(
        ({ ids, labels }) => {
          const loss = model.loss(ids, labels);
          return Object.fromEntries([
            ["loss", loss],
            ...grad(loss, [...factors.values()]).map((g, i) => [[...factors.keys()][i], g]),
          ]);
        },
        signature,
        { engine, specialize: true, training: true },
      );
      const results = (await program(batch)) as Readonly<Record<string, HostArray>>;
      expect(difference(results.loss as HostArray, expected.get("loss"))).toBeLessThan(1e-5);
      for (const factor of factors.keys())
        expect(difference(results[factor] as HostArray, expected.get(`gradient.${factor}`)), factor).toBeLessThan(1e-5);
    });

    it("leaves the model's own variables and names alone", () => {
      expect([...model.variables().keys()]).toEqual(names);
      expect([...model.parameters().values()].some(({ trainable }) => trainable)).toBe(false);
      expect([...adapter.parameters().values()].every(({ trainable }) => trainable)).toBe(true);
      expect(adapter.parameters().size).toBe(factorsOf(adapter).size);
    });

    it("is written as peft wrote it", async () => {
      const directory = join(folder, name);
      await adapter.save(directory, { base: "org/base" });
      const [ours, theirs] = [directory, golden(`${name}/adapter`)].map((path) =>
        tensorsOf(join(path, "adapter_model.safetensors")),
      );
      const adapters = [...(theirs as typeof expected)].filter(([tensor]) => !tensor.includes("base_layer"));
      expect([...(ours as typeof expected).keys()].sort()).toEqual(adapters.map(([tensor]) => tensor).sort());
      for (const [tensor, value] of adapters) expect(ours?.get(tensor)?.data, tensor).toEqual(value.data);
      const [written, read] = [directory, golden(`${name}/adapter`)].map(
        (path) => JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8")) as Record<string, unknown>,
      );
      for (const field of [
        "peft_type",
        "task_type",
        "r",
        "lora_alpha",
        "use_rslora",
        "fan_in_fan_out",
        "ensure_weight_tying",
        "bias",
      ])
        expect(written?.[field], field).toEqual(read?.[field]);
      expect(written?.base_model_name_or_path).toBe("org/base");
      const again = await loadAdapter(await modelOf(name), directory);
      expect(await valuesOf(again.variables())).toEqual(await valuesOf(adapter.variables()));
      const ranks = (of: Adapter) => of instanceof Lora && of.targets.map(({ rank, alpha }) => [rank, alpha]);
      expect(ranks(again)).toEqual(ranks(adapter));
    });

    it("is no part of what saveModel writes", async () => {
      const directory = join(folder, `${name}-base`);
      await saveModel(model, directory);
      const [saved, base] = [directory, golden(`${name}/base`)].map((path) => tensorsOf(join(path, "model.safetensors")));
      expect([...(saved as typeof expected).keys()].sort()).toEqual([...(base as typeof expected).keys()].sort());
      for (const [tensor, value] of base as typeof expected) expect(saved?.get(tensor)?.data, tensor).toEqual(value.data);
    });

    it("merged is the same as unmerged, and unmerged again the model is what it was", async () => {
      await using program = compile(
        ({ ids }) => ({ logits: model.forward(ids) }),
        { ids: signature.ids },
        { engine, frozen: true },
      );
      const logits = async () => (await program({ ids: batch.ids })).logits;
      expect(difference(await logits(), expected.get("logits"))).toBeLessThan(1e-5);
      const before = await valuesOf(model.variables());
      if (["tied-head", "gpt2"].includes(name)) {
        await expect(adapter.merge(engine)).rejects.toThrow(
          /(lmHead|wte) shares its weight with another layer.*ensureWeightTying/,
        );
        expect(await valuesOf(model.variables())).toEqual(before);
      } else {
        await adapter.merge(engine);
        expect(await valuesOf(model.variables())).not.toEqual(before);
        expect(difference(await logits(), expected.get("logits"))).toBeLessThan(1e-5);
        expect(() => new AdamW(adapter)).toThrow(/all are frozen/);
        expect(() => adapter.detach()).toThrow(/merged/);
        adapter.unmerge();
        expect(await valuesOf(model.variables())).toEqual(before);
        expect(difference(await logits(), expected.get("logits"))).toBeLessThan(1e-5);
      }
      adapter.enabled = false;
      expect(difference(await logits(), expected.get("logits.base"))).toBeLessThan(1e-5);
      adapter.enabled = true;
      expect(difference(await logits(), expected.get("logits"))).toBeLessThan(1e-5);
      adapter.detach();
      expect(difference(await logits(), expected.get("logits.base"))).toBeLessThan(1e-5);
      expect([...model.parameters().values()].every(({ trainable }) => trainable)).toBe(true);
    });
  },
);

it("of a convolution agrees with peft", async () => {
  const expected = tensorsOf(golden("conv.safetensors"));
  class Net extends Module {
    readonly conv = new Conv2d(3, 4, { kernel: [3, 2], stride: 2, padding: 1 });
    forward(x: Tensor): Tensor {
      return this.conv.forward(x);
    }
  }
  const net = new Net();
  net.conv.weight.write(expected.get("weight") as HostArray);
  net.conv.bias?.write(expected.get("bias") as HostArray);
  const adapter = lora(net, { rank: 2, alpha: 3, targets: /conv/ });
  const [a, b] = [...adapter.parameters().values()] as [Parameter, Parameter];
  a.write(expected.get("a") as HostArray);
  b.write(expected.get("b") as HostArray);
  await using program = compile(
    ({ x }) => {
      const y = net.forward(x);
      const [ofA, ofB] = grad(sum(square(y)), [a, b]) as readonly [Tensor, Tensor];
      return { y, ofA, ofB };
    },
    { x: float32("batch", 3, 6, 5) },
    { engine },
  );
  const feeds = { x: expected.get("x") as HostArray<"float32"> };
  const { y, ofA, ofB } = await program(feeds);
  expect(difference(y, expected.get("y"))).toBeLessThan(1e-5);
  expect(difference(ofA, expected.get("gradient.a"))).toBeLessThan(1e-4);
  expect(difference(ofB, expected.get("gradient.b"))).toBeLessThan(1e-4);
  await adapter.merge(engine);
  expect(difference(await net.conv.weight.read(), expected.get("merged"))).toBeLessThan(1e-6);
  expect(difference((await program(feeds)).y, expected.get("y"))).toBeLessThan(1e-5);
});

describe("peft's adapter of a classifier, whose last layer is trained in full", async () => {
  const expected = tensorsOf(golden("bert/expected.safetensors"));
  const of = (name: string) => expected.get(name) as HostArray<"int32">;
  const model = await loadModel(golden("bert/base"), { kind: "sequence-classifier" });
  const adapter = await loadAdapter(model, golden("bert/adapter"));
  const program = compile(
    ({ ids, labels }) => {
      const logits = model.forward(ids);
      const loss = crossEntropy(logits, labels);
      const factors = factorsOf(adapter);
      const gradients = grad(loss, [...factors.values()]);
      return {
        ...{ loss, logits, base: adapter.without(() => model.forward(ids)) },
        ...Object.fromEntries([...factors.keys()].map((name, i) => [`gradient.${name}`, gradients[i] as Tensor])),
      };
    },
    { ids: signature.ids, labels: int32("batch") },
    { engine },
  );

  it("gives peft's logits and gradients, and those of the base without it", async () => {
    const results: Readonly<Record<string, HostArray>> = await program({ ids: of("ids"), labels: of("labels") });
    const wanted = [...expected.keys()].filter((name) => !["ids", "labels", "logits.base"].includes(name));
    expect(wanted).toHaveLength(2 + factorsOf(adapter).size);
    expect(wanted).toContain("gradient.base_model.model.classifier.bias");
    for (const name of wanted) expect(difference(results[name] as HostArray, expected.get(name)), name).toBeLessThan(1e-5);
    expect(difference(results.base as HostArray, of("logits.base"))).toBeLessThan(1e-5);
  });

  it("is written as peft wrote it, and merged the same", async () => {
    const directory = join(folder, "bert");
    await adapter.save(directory);
    const [ours, theirs] = [directory, golden("bert/adapter")].map((path) => tensorsOf(join(path, "adapter_model.safetensors")));
    expect([...(ours as typeof expected).keys()].sort()).toEqual([...(theirs as typeof expected).keys()].sort());
    for (const [name, value] of theirs as typeof expected) expect(ours?.get(name)?.data, name).toEqual(value.data);
    await adapter.merge(engine);
    const { logits } = await program({ ids: of("ids"), labels: of("labels") });
    expect(difference(logits as HostArray, expected.get("logits"))).toBeLessThan(1e-5);
    adapter.unmerge();
  });

  it("begins with the base's values when it is new, and is the default for classifiers", async () => {
    const fresh = await loadModel(golden("bert/base"), { kind: "sequence-classifier" });
    const own = lora(fresh, { targets: "query" });
    expect([...own.copies.keys()]).toEqual(["classifier"]);
    expect((await own.copies.get("classifier")?.trained.weight?.read())?.data).toEqual(
      (await fresh.classifier.weight.read()).data,
    );
    expect(() => lora(fresh, { alsoTrain: "query", targets: "query" })).toThrow(/no linear map/);
  });
});

describe("foreign adapters are refused, and the model is as it was", () => {
  const changed = (name: string, change: (config: Record<string, unknown>) => void): string => {
    const directory = mkdtempSync(join(folder, "changed-"));
    cpSync(golden(`${name}/adapter`), directory, { recursive: true });
    const path = join(directory, "adapter_config.json");
    const config = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    change(config);
    writeFileSync(path, JSON.stringify(config));
    return directory;
  };

  it.each<[string, (config: Record<string, unknown>) => void, RegExp]>([
    ["settings", (c) => Object.assign(c, { use_qalora: true, bias: "all" }), /use_qalora true, bias "all"/],
    ["methods", (c) => Object.assign(c, { peft_type: "VERA" }), /peft_type "VERA"/],
    ["numbers", (c) => Object.assign(c, { r: "three" }), /r of the adapter's configuration should be a number, but is "three"/],
  ])("for %s that are not supported", async (_, change, message) => {
    await expect(loadAdapter(await modelOf("gpt2"), changed("gpt2", change))).rejects.toThrow(message);
  });

  it("for tensors of another model, other embeddings, or no adapter at all", async () => {
    const model = await modelOf("tied");
    await expect(loadAdapter(model, golden("gpt2/adapter"))).rejects.toThrow(/no module: base_model\.model\.transformer/);
    const other = (await modelOf("tied")).initialize(1);
    const embedding = other.variables().get("embedTokens.weight") as Variable;
    const value = await embedding.read();
    (value.data as Float32Array)[3] = 9;
    embedding.write(value);
    await expect(loadAdapter(other, golden("tied/adapter"))).rejects.toThrow(
      /(embed_tokens|lm_head)\.base_layer\.weight.*differs/,
    );
    expect([...other.parameters().values()].every(({ trainable }) => trainable)).toBe(true);
    await expect(loadAdapter(model, folder)).rejects.toThrow(/not a saved adapter/);
  });
});
