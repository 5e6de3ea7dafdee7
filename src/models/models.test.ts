/** Models that are no decoders against transformers: directories, outputs and gradients of reference/models.py. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { readSafetensors } from "../checkpoint/safetensors.node.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { grad } from "../graph/gradient.js";
import { elementCount, type HostArray, hostArray, toNumbers } from "../graph/host-array.js";
import { constant } from "../graph/leaves.js";
import { add, mul } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { sum } from "../graph/ops/reduce.js";
import { reshape } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { modelValues } from "../inspect/values.js";
import { compile } from "../program/compile.js";
import type { Feeds, Signature } from "../program/signature.js";
import { checkpointVariables, modelFromConfig } from "./architectures.js";
import { Bert, describeKind, type Encoder, loadModel, type Model, SequenceClassifier, saveModel } from "./index.js";
import {
  formula,
  goldenDecoder as golden,
  goldenModels,
  relativeDifference,
  writeGoldenDirectory,
} from "./testing/golden-decoder.js";

const engine = await onnxRuntimeNode({ threads: 2 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-models-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Outputs, and the gradients of the scalar that reference/models.py makes of them. */
async function computed(model: Model, name: string): Promise<Readonly<Record<string, HostArray>>> {
  const { outputs } = describeKind(model);
  const inputs = describeKind(model).inputs(model);
  const given = Object.keys(inputs).filter((key) => golden(name).tensors.has(key));
  const signature: Signature = Object.fromEntries(given.map((key) => [key, inputs[key]?.spec as Signature[string]]));
  const variables = [...checkpointVariables(model)];
  await using program = compile(
    (leaves) => {
      const made: Readonly<Record<string, Tensor>> = outputs(model, leaves);
      const scalar = Object.entries(made)
        .map(([key, output]) => {
          const shape = golden(name).tensor(key).shape;
          const weights = constant(hostArray("float32", shape, Float32Array.from(formula(`scalar ${key}`, elementCount(shape)))));
          const weighted = mul(output, weights);
          const { mask } = leaves as { mask?: Tensor };
          return sum(mask && output.rank === 3 ? mul(weighted, reshape(cast(mask, "float32"), [...mask.shape, 1])) : weighted);
        })
        .reduce((a, b) => add(a, b));
      const gradients = grad(
        scalar,
        variables.map(([, variable]) => variable),
      );
      return { ...made, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient.${variables[i]?.[0]}`, gradient])) };
    },
    signature,
    { engine, training: false, specialize: true },
  );
  return program(Object.fromEntries(given.map((key) => [key, golden(name).tensor(key)])) as Feeds<Signature>);
}

/** Padding's rows of hidden states mean nothing. */
function realRows(name: string, values: HostArray): number[] {
  const mask = golden(name).tensors.get("mask");
  const numbers = [...toNumbers(values)];
  if (!mask || values.shape.length !== 3) return numbers;
  const width = values.shape[2] as number;
  return numbers.filter((_, i) => mask.data[Math.floor(i / width)]);
}

describe.each(goldenModels)("%s", (case_) => {
  const name = `models/${case_}`;
  const directory = () => join(folder, case_);
  let model: Model;

  beforeAll(async () => {
    await writeGoldenDirectory(golden(name), directory());
    model = await loadModel(directory());
  });

  it("is made of its config.json as the class that it names, and has its tensors", () => {
    expect([...checkpointVariables(model)].map(([key, { shape }]) => [key, shape]).sort()).toEqual(
      Object.entries(golden(name).shapes).sort(),
    );
  });

  it("computes the outputs and gradients of transformers", async () => {
    const results = await computed(model, name);
    const expected = golden(name).tensors;
    const wrong: [string, number][] = [];
    const gradientsOf = [...expected].flatMap(([key, values]) => (key.startsWith("gradient.") ? [...toNumbers(values)] : []));
    const floor = 0.01 * Math.max(...gradientsOf.map(Math.abs));
    for (const [key, values] of Object.entries(results)) {
      const target = expected.get(key);
      if (!target) throw new Error(`The golden file has no ${key}`);
      const difference = relativeDifference(realRows(name, values), realRows(name, target), floor);
      if (!(difference < 1e-4)) wrong.push([key, difference]);
    }
    expect(wrong).toEqual([]);
    const gradients = [...expected.keys()].filter((key) => key.startsWith("gradient."));
    expect(Object.keys(results)).toEqual(expect.arrayContaining(gradients));
  });

  it("is saved under the names and with the entries that transformers writes", async () => {
    const saved = join(folder, `${case_}-saved`);
    await saveModel(model, saved);
    const config = JSON.parse(await readFile(join(saved, "config.json"), "utf8")) as Record<string, unknown>;
    const theirs = golden(name).config as Record<string, unknown>;
    for (const [key, value] of Object.entries(config)) if (key in theirs) expect([key, value]).toEqual([key, theirs[key]]);
    expect(config).toMatchObject({ architectures: theirs.architectures, model_type: theirs.model_type });
    await using file = await readSafetensors(join(saved, "model.safetensors"));
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(golden(name).shapes).sort());
    const [before, after] = await Promise.all([computed(model, name), computed(await loadModel(saved), name)]);
    expect(after).toEqual(before);
  });
});

describe("kinds", () => {
  const directory = (name: string) => join(folder, name);

  it("type what is loaded", async () => {
    const encoder = await loadModel(directory("bert"), { kind: "encoder" });
    expectTypeOf(encoder).toEqualTypeOf<Encoder>();
    expect(encoder).toBeInstanceOf(Bert);
  });

  it("take the backbone out of a model with a head", async () => {
    const encoder = await loadModel(directory("bert-classifier"), { kind: "encoder" });
    const classifier = await loadModel(directory("bert-classifier"));
    const ids = [3, 1, 4, 1, 5];
    const pooled = (await modelValues(encoder, ids, ["poolerOutput"], { engine })).get("poolerOutput") as HostArray;
    const other = new SequenceClassifier(encoder, { labels: ["a", "b"] });
    const logits = (await modelValues(other, ids, undefined, { engine })).get("logits") as HostArray;
    expect(logits.shape).toEqual([2]);
    const inside = (await modelValues(classifier, ids, ["backbone.pooler.output"], { engine })).get("backbone.pooler.output");
    expect([...toNumbers(pooled)]).toEqual([...toNumbers(inside as HostArray)].map((x) => expect.closeTo(Math.tanh(x), 5)));
  });

  it("are refused by name where a model_type has no such kind", async () => {
    await expect(loadModel(directory("bert"), { kind: "causal-lm" })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(
        /"bert", which is known here as encoder, masked-lm, sequence-classifier, but not as causal-lm/,
      ),
    });
    expect(() => modelFromConfig({ model_type: "nothing" }, "It", "vision")).toThrow(/known are vit/);
  });

  it("are refused by name where their sizes are beyond any model, before anything is made", () => {
    const sizes = { hidden_size: 8, num_attention_heads: 2, intermediate_size: 8, vocab_size: 20 };
    for (const [name, entries] of [
      ["num_hidden_layers", { model_type: "llama", ...sizes, num_hidden_layers: 1e9 }],
      ["n_layer", { model_type: "gpt2", n_embd: 8, n_head: 2, vocab_size: 20, n_positions: 8, n_layer: 1e9 }],
      ["num_local_experts", { model_type: "mixtral", ...sizes, num_hidden_layers: 1, num_local_experts: 1e9 }],
    ] as const)
      expect(() => modelFromConfig(entries, "config.json")).toThrow(
        new RegExp(`config.json says ${name}: 1000000000, but no model has more`),
      );
  });

  it("read inputs by name, and say which there are", async () => {
    const model = await loadModel(directory("bert"));
    const ids = [1, 2, 3];
    const plain = (await modelValues(model, { ids }, undefined, { engine })).get("lastHiddenState");
    expect(plain?.shape).toEqual([3, 16]);
    const typed = (await modelValues(model, { ids, tokenTypeIds: [0, 1, 1] }, undefined, { engine })).get("lastHiddenState");
    expect(typed).not.toEqual(plain);
    await expect(modelValues(model, { ids, pixels: ids }, undefined, { engine })).rejects.toThrow(
      /kind encoder has no input "pixels"; it has ids, tokenTypeIds, mask/,
    );
    await expect(modelValues(model, { mask: [1] }, undefined, { engine })).rejects.toThrow(/needs ids, which was not given/);
  });
});
