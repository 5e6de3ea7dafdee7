/** Every architecture against transformers: directories, logits and gradients of reference/decoders.py. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../checkpoint/safetensors.node.js";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { createEngine } from "../engine/registry.js";
import { whyNoOpenVino } from "../engine/testing/openvino.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { compile } from "../program/compile.js";
import { bool, int32 } from "../program/signature.js";
import { checkpointVariables, knownArchitectures, modelFromConfig } from "./architectures.js";
import type { CausalLM, KeyValueCache } from "./causal-lm.js";
import { Llama } from "./decoders/llama.js";
import { loadModel, saveModel } from "./index.js";
import { differentGradients, goldenDecoder, goldenDecoders, writeGoldenDirectory } from "./testing/golden-decoder.js";
import { modelsDocument } from "./testing/models-document.js";

const engine = await onnxRuntimeNode({ threads: 2 });
const noOpenVino = await whyNoOpenVino();
const openVino = noOpenVino ? undefined : await createEngine({ engine: "openvino" });
afterAll(() => openVino?.close());

const signature = { ids: int32("batch", "seq"), real: bool("batch", "seq") };

/** What transformers opened of what is saved here: reference/decoders_saved.py. */
const openedPath = new URL("../../reference/golden/decoders-saved.json", import.meta.url);
const opened: Readonly<Record<string, { digest: string; class: string }>> = existsSync(openedPath)
  ? (JSON.parse(readFileSync(openedPath, "utf8")) as { opened: Record<string, { digest: string; class: string }> }).opened
  : {};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-architectures-"));
});
afterAll(() => rm(folder, { recursive: true }));

const modelTypeOf = (name: string) => goldenDecoder(`decoders/${name}`).config.model_type;

interface Kept extends KeyValueCache {
  readonly kept: { keys: Tensor; values: Tensor }[];
}

/** A cache of tensors of the same trace: what is kept in `from` is what is in it. */
function cacheOf(length: number, from?: Kept): Kept {
  const kept = from?.kept ?? [];
  return {
    ...{ length, kept },
    layer: (i) => ({
      append(keys, values) {
        const old = kept[i];
        kept[i] = old ? { keys: concat([old.keys, keys], 2), values: concat([old.values, values], 2) } : { keys, values };
        return kept[i];
      },
    }),
  };
}

/** What was shown to be so in this run, for the table of docs/models.md. */
const shown = new Map<string, Set<string>>();
const show = (name: string, what: string) => shown.set(name, (shown.get(name) ?? new Set()).add(what));

describe.each(goldenDecoders)("%s", (name) => {
  const golden = goldenDecoder(`decoders/${name}`);
  const feeds = {
    ids: golden.tensor("ids") as HostArray<"int32">,
    real: golden.tensor("real") as HostArray<"bool">,
    labels: golden.tensor("labels") as HostArray<"int32">,
  };
  let model: CausalLM;

  it("loads from a directory that Python wrote", async () => {
    const directory = join(folder, name);
    await writeGoldenDirectory(golden, directory);
    model = await loadModel(directory, { kind: "causal-lm" });
    expect([...checkpointVariables(model).keys()].sort()).toEqual(Object.keys(golden.shapes).sort());
    if (golden.byTransformers) show(name, "loads");
  });

  /** The largest difference from the logits of Python; what stands at padding means nothing. */
  const logitsDifference = async (on: Engine): Promise<number> => {
    await using program = compile(({ ids, real }) => ({ logits: model.forward(ids, { keys: real }) }), signature, { engine: on });
    const { logits } = await program({ ids: feeds.ids, real: feeds.real });
    const expected = golden.tensor("logits");
    expect(logits.shape).toEqual(expected.shape);
    const [right, left] = [toNumbers(expected), logits.toNumbers()];
    const vocabulary = expected.shape.at(-1) as number;
    const differences = left.map((value, i) =>
      feeds.real.data[Math.floor(i / vocabulary)] ? Math.abs(value - (right[i] as number)) : 0,
    );
    return Math.max(...differences); // NaN stays
  };

  it("computes the same logits", async () => {
    expect(await logitsDifference(engine)).toBeLessThan(1e-4);
    show(name, "logits");
  });

  // Keys keep the rotation that they had when they were new, where the frequencies depend on the length at hand.
  it.skipIf(["llama-dynamic", "gpt_neox-sequential", "llama-longrope", "phi3"].includes(name))(
    "continues from a cache with the logits of the whole",
    async () => {
      await using program = compile(
        ({ ids }) => {
          const cache = cacheOf(12);
          model.forward(slice(ids, 1, 0, 12), { cache: cacheOf(0, cache) });
          return { continued: model.forward(slice(ids, 1, 12), { cache }), whole: slice(model.forward(ids), 1, 12) };
        },
        { ids: int32(3, 20) },
        { engine },
      );
      const { continued, whole } = await program({ ids: feeds.ids });
      expect(continued.shape).toEqual(whole.shape);
      const expected = whole.toNumbers();
      expect(Math.max(...continued.toNumbers().map((value, i) => Math.abs(value - (expected[i] as number))))).toBeLessThan(1e-4);
    },
  );

  it("computes the same loss and gradients in training", async () => {
    expect(await differentGradients(model, golden, engine)).toEqual([]);
    show(name, "gradients");
  });

  it("computes the same loss in evaluation, where nothing is balanced", async () => {
    await using program = compile(
      ({ ids, real, labels }) => ({ loss: model.loss(ids, labels, { keys: real }) }),
      { ...signature, labels: int32("batch", "seq") },
      { engine },
    );
    expect((await program(feeds)).loss.item()).toBeCloseTo(toNumbers(golden.tensor("loss"))[0] as number, 4);
  });

  it.skipIf(noOpenVino)("computes the same on OpenVINO", async () => {
    expect(await logitsDifference(openVino as Engine)).toBeLessThan(1e-4);
    expect(await differentGradients(model, golden, openVino as Engine)).toEqual([]);
  });

  it("is saved under the names that Python wrote, and comes back", async () => {
    const directory = join(process.env.TSUMIKI_SAVED ?? join(folder, "saved"), name);
    await saveModel(model, directory);
    await using file = await readSafetensors(join(directory, "model.safetensors"));
    const shapes = Object.fromEntries([...file.tensors].map(([key, { shape }]) => [key, shape]));
    expect(shapes).toEqual(golden.shapes);
    const loaded = await loadModel(directory, { kind: "causal-lm" });
    expect(loaded.toConfig()).toEqual(model.toConfig());
    const text = await readFile(join(directory, "config.json"), "utf8");
    const config = JSON.parse(text) as Record<string, unknown>;
    // Whatever Python wrote and is written here too has the same value.
    const shared = Object.keys(golden.config).filter((key) => key in config && typeof golden.config[key] !== "object");
    expect(shared.map((key) => [key, config[key]])).toEqual(shared.map((key) => [key, golden.config[key]]));
    if (process.env.TSUMIKI_SAVED || !golden.byTransformers) return;
    // transformers opened what is saved here, and computed the golden logits, when it was the same as today.
    const sorted = Object.fromEntries(Object.entries(shapes).sort(([a], [b]) => (a < b ? -1 : 1)));
    const digest = createHash("sha256")
      .update(text + JSON.stringify(sorted))
      .digest("hex");
    expect(digest, "run reference/decoders_saved.py again").toBe(opened[name]?.digest);
    show(name, "saves");
  });
});

it("docs/models.md says what is so", async () => {
  const compared = knownArchitectures("causal-lm").filter((modelType) => modelType !== "recurrent_lm"); // it has no other side
  const rows = compared.map((modelType) => {
    const cases = goldenDecoders.filter((name) => modelTypeOf(name) === modelType);
    expect(cases, modelType).not.toEqual([]);
    const all = (what: string) => (cases.every((name) => shown.get(name)?.has(what)) ? "yes" : "–");
    const of = goldenDecoder(`decoders/${cases[0]}`);
    const className = of.byTransformers ? `\`${String((of.config.architectures as string[])[0])}\`` : "–";
    const cell = [`\`${modelType}\``, className, String(cases.length)];
    return `| ${[...cell, ...["loads", "saves", "logits", "gradients"].map(all)].join(" | ")} |`;
  });
  await expect(modelsDocument(rows)).toMatchFileSnapshot("../../docs/models.md");
});

it("reads LongRoPE as the first releases of Phi 3 wrote it", () => {
  const { rope_parameters, ...config } = goldenDecoder("decoders/phi3").config;
  for (const type of ["su", "yarn", "longrope"]) {
    const scaling = { type, short_factor: [1, 1.1, 1.3, 1.6], long_factor: [1, 1.5, 2.5, 4] };
    const model = modelFromConfig(
      { ...config, rope_theta: 100, partial_rotary_factor: 0.7, rope_scaling: scaling },
      undefined,
      "causal-lm",
    );
    expect(model.toConfig()).toMatchObject({
      ropeTheta: 100,
      partialRotaryFactor: 0.7,
      ropeScaling: { ropeType: "longrope", factor: 4, originalMaxPositionEmbeddings: 8, longFactor: scaling.long_factor },
    });
  }
});

describe("a config.json that cannot be followed", () => {
  const config = goldenDecoder("decoders/llama").config;
  const refused = (changes: object) => {
    try {
      modelFromConfig({ ...config, ...changes }, "config.json");
    } catch (error) {
      expect(error).toMatchObject({ code: "CONFIG" });
      return (error as Error).message;
    }
    throw new Error("It was accepted.");
  };

  it("names what is known", () => {
    expect(refused({ model_type: "mamba" })).toMatch(/"mamba"; known are gpt2, gptj, .*cohere2/);
    expect(refused({ hidden_act: "mish" })).toMatch(/"relu"\|"relu2"\|"gelu"[\s\S]*hidden_act/);
    for (const rope_type of ["su", "proportional"])
      expect(refused({ rope_parameters: { rope_type } })).toMatch(
        /"default"\|"linear"\|"dynamic"\|"yarn"\|"longrope"\|"llama3"[\s\S]*rope_type/,
      );
    expect(refused({ rope_parameters: { rope_type: "longrope", short_factor: [1, 1] } })).toMatch(
      /longrope needs it[\s\S]*long_factor/,
    );
    expect(refused({ rope_parameters: null, rope_scaling: { type: "llama3", factor: 2 } })).toMatch(
      /llama3 needs it[\s\S]*low_freq_factor/,
    );
    expect(refused({ num_key_value_heads: 3 })).toMatch(/numAttentionHeads 4 cannot be shared by numKeyValueHeads 3 evenly/);
    expect(refused({ model_type: "smollm3", no_rope_layers: [1] })).toMatch(
      /noRopeLayers tells about 1 layers, but numHiddenLayers is 2/,
    );
  });

  it("has a Llama refused that no member of the family could be", () => {
    const options = { vocabSize: 9, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
    expect(() => new Llama({ ...options, mlpBias: true, queryKeyNorm: true })).toThrow(/no member of the family has all of/);
    expect(() => new Llama({ ...options, modelType: "llama", slidingWindow: 4 })).toThrow(
      /a llama model has no such slidingWindow/,
    );
    expect(new Llama({ ...options, slidingWindow: 4 }).modelType).toBe("mistral");
    expect(new Llama({ ...options, queryKeyNorm: true }).modelType).toBe("qwen3");
  });
});
