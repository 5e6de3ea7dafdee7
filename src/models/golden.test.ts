/** Both decoders against PyTorch: the golden files of reference/llama.py and reference/gpt2.py. */

import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import type { Engine } from "../engine/engine.js";
import { createEngine } from "../engine/registry.js";
import { whyNoOpenVino } from "../engine/testing/openvino.js";
import { grad } from "../graph/gradient.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import type { Parameter } from "../graph/variable.js";
import { compile } from "../program/compile.js";
import { int32 } from "../program/signature.js";
import { checkpointVariables, modelFromConfig } from "./architectures.js";

const folder = new URL("../../reference/golden/", import.meta.url);
const tolerance = 1e-4;

function golden(name: string) {
  const { tensors } = decodeSafetensors(readFileSync(new URL(`${name}.safetensors`, folder)));
  const { config } = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as { config: object };
  const tensor = (key: string): HostArray => {
    const found = tensors.get(key);
    if (!found) throw new Error(`${name}.safetensors has no ${key}`);
    return found;
  };
  const model = modelFromConfig(config, name, "causal-lm");
  const variables = checkpointVariables(model);
  for (const [key, variable] of variables) variable.write(tensor(`parameter.${key}`));
  return { tensors, tensor, model, variables };
}

/** Largest difference, relative where values are above 1. */
function difference(actual: HostArray, expected: HostArray): number {
  expect(actual.shape).toEqual(expected.shape);
  const right = toNumbers(expected);
  return toNumbers(actual).reduce((largest, value, i) => {
    const target = right[i] as number;
    return Math.max(largest, Math.abs(value - target) / Math.max(1, Math.abs(target))); // NaN stays
  }, 0);
}

const signature = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };

const noOpenVino = await whyNoOpenVino();
const models = ["llama-tied", "llama-untied", "gpt2"];

describe.each([
  ["onnxruntime", undefined],
  ["openvino", noOpenVino],
] as const)("on %s", (engineName, absent) => {
  if (absent) {
    describe.skip(absent, () => it("computes what PyTorch does", () => {}));
    return;
  }
  const engine = createEngine({ engine: engineName });
  afterAll(async () => (await engine).close());
  describe.each(models)("%s", (name) => describeModel(name, engine));
});

function describeModel(name: string, engine: Promise<Engine>): void {
  const { tensors, tensor, model, variables } = golden(name);
  const feeds = { ids: tensor("ids") as HostArray<"int32">, labels: tensor("labels") as HostArray<"int32"> };

  it("has the parameters that transformers has, and no other", () => {
    const expected = [...tensors.keys()].filter((key) => key.startsWith("parameter."));
    expect([...variables.keys()].map((key) => `parameter.${key}`).sort()).toEqual(expected.sort());
  });

  it("computes the same logits and hidden states", async () => {
    const layers = name === "gpt2" ? "h" : "layers";
    await using look = compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: int32("batch", "seq") }, { engine });
    const { logits, inside } = await look({ ids: feeds.ids }, { fetch: [`${layers}.*.output`] });
    expect(difference(logits, tensor("logits"))).toBeLessThan(tolerance);
    for (const layer of [0, 1])
      expect(difference(inside[`${layers}.${layer}.output`] as HostArray, tensor(`hidden.${layer + 1}`))).toBeLessThan(tolerance);
    const next = compile(
      ({ ids }) => ({ logits: model.nextTokenLogits(ids) }),
      { ids: int32("batch", "seq") },
      { frozen: true, engine },
    );
    const last = (await next({ ids: feeds.ids })).logits;
    const [batch, seq, vocab] = tensor("logits").shape as [number, number, number];
    const lastRows = Array.from({ length: batch }, (_, row) =>
      toNumbers(tensor("logits")).subarray((row * seq + seq - 1) * vocab, (row + 1) * seq * vocab),
    ).flatMap((row) => [...row]);
    expect(difference(last, { dtype: "float32", shape: [batch, vocab], data: Float32Array.from(lastRows) })).toBeLessThan(
      tolerance,
    );
    await next.release();
  });

  // Evaluation has symbolic sizes and one attention matrix; training sees concrete sizes and goes block by block.
  it.each([false, true])("computes the same loss and the gradient of every parameter (training: %s)", async (training) => {
    const parameters = [...variables.values()] as Parameter[];
    await using program = compile(
      ({ ids, labels }) => {
        const loss = model.loss(ids, labels);
        const gradients = grad(loss, parameters);
        return { loss, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])) };
      },
      signature,
      { training, specialize: training, engine },
    );
    const { loss, ...gradients } = await program(feeds);
    expect(difference(loss as HostArray, tensor("loss"))).toBeLessThan(tolerance);
    const differences = [...variables.keys()].map((key, i): [string, number] => [
      key,
      difference((gradients as Record<string, HostArray>)[`gradient${i}`] as HostArray, tensor(`gradient.${key}`)),
    ]);
    expect(differences.filter(([, value]) => !(value < tolerance))).toEqual([]);
  });
}
