import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.node.js";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { announceReplacement } from "../files/replace.node.js";
import { type DType, encode, roundTo } from "../graph/dtype.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import { hubServer } from "../hub/testing/hub-server.js";
import { compile } from "../program/compile.js";
import { int32 } from "../program/signature.js";
import { trainTokenizer } from "../tokenizer/index.js";
import { type CausalLM, GPT2, Llama, loadModel, modelFromConfig, saveModel } from "./index.js";

const golden = fileURLToPath(new URL("../../reference/golden/", import.meta.url));

let folder: string;
let directory: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-model-"));
  directory = join(folder, "models", "whale");
});
afterEach(() => rm(folder, { recursive: true }));

const gpt2 = () => new GPT2({ vocabSize: 20, nEmbd: 8, nLayer: 2, nHead: 2, nPositions: 6 }).initialize(3);
const llama = (tieWordEmbeddings: boolean) =>
  new Llama({
    ...{ vocabSize: 20, hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 2, numAttentionHeads: 2, numKeyValueHeads: 1 },
    ...{ ropeTheta: 500, maxPositionEmbeddings: 16, tieWordEmbeddings },
  }).initialize(3);

const values = async (model: CausalLM) =>
  Object.fromEntries(
    await Promise.all([...model.variables()].map(async ([path, variable]) => [path, [...toNumbers(await variable.read())]])),
  ) as Record<string, number[]>;
const fails = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
const config = async () => JSON.parse(await readFile(join(directory, "config.json"), "utf8")) as Record<string, unknown>;

/** The tensors of a saved model, changed and written again. */
async function rewrite(change: (tensors: Map<string, HostArray>) => void): Promise<void> {
  const path = join(directory, "model.safetensors");
  const { metadata, tensors } = decodeSafetensors(await readFile(path));
  change(tensors);
  const entries = [...tensors].map(([name, { data, ...rest }]) => ({ name, ...rest, data: () => data }));
  await writeSafetensors(path, entries, metadata);
}

async function logits(model: CausalLM, ids: HostArray<"int32">, frozen: boolean): Promise<Float64Array> {
  await using program = compile((inputs) => ({ logits: model.forward(inputs.ids) }), { ids: int32("batch", "seq") }, { frozen });
  return (await program({ ids })).logits.toNumbers();
}

describe.each([
  ["gpt2", gpt2],
  ["llama, tied", () => llama(true)],
  ["llama, untied", () => llama(false)],
])("%s", (_, make) => {
  it("comes back as it was saved", async () => {
    const model = make();
    await saveModel(model, directory);
    expect((await readdir(directory)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
    expect(await readdir(join(folder, "models"))).toEqual(["whale"]);
    const loaded = await loadModel(directory, { kind: "causal-lm" });
    expect(loaded).toBeInstanceOf(model.constructor);
    expect(loaded.toConfig()).toEqual(model.toConfig());
    expect(await values(loaded)).toEqual(await values(model));
  });

  it("is saved under the names of transformers, shared parameters once", async () => {
    const model = make();
    await saveModel(model, directory);
    await using file = await readSafetensors(join(directory, "model.safetensors"));
    expect(file.metadata).toEqual({ format: "pt" });
    expect(file.tensors.size).toBe(model.variables().size);
    const expected = model instanceof GPT2 ? "transformer.h.1.mlp.c_fc.weight" : "model.layers.1.self_attn.q_proj.weight";
    expect([...file.tensors.keys()]).toContain(expected);
    expect(file.tensors.has("lm_head.weight")).toBe(model instanceof Llama && model.lmHead !== undefined);
  });
});

describe("from transformers", () => {
  it.each(["gpt2", "llama-tied", "llama-untied"])("%s: computes the golden logits out of the file", async (name) => {
    const { tensors } = decodeSafetensors(await readFile(join(golden, `${name}.safetensors`)));
    const about = JSON.parse(await readFile(join(golden, `${name}.json`), "utf8")) as { config: object };
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "config.json"), JSON.stringify(about.config));
    const parameters = [...tensors]
      .filter(([key]) => key.startsWith("parameter."))
      .map(([key, { data, ...rest }]) => ({ name: key.slice("parameter.".length), ...rest, data: () => data }));
    await writeSafetensors(join(directory, "model.safetensors"), parameters);

    const model = await loadModel(directory, { kind: "causal-lm" });
    expect([...model.parameters().values()].every(({ file }) => file !== undefined)).toBe(true);
    const expected = toNumbers(tensors.get("logits") as HostArray);
    for (const frozen of [true, false]) {
      const actual = await logits(model, tensors.get("ids") as HostArray<"int32">, frozen);
      expect(Math.max(...actual.map((value, i) => Math.abs(value - (expected[i] as number))))).toBeLessThan(1e-4);
    }
  });

  it("may have no prefix, and masks and a tied output that older releases kept", async () => {
    const model = gpt2();
    await saveModel(model, directory);
    const mask: HostArray = { dtype: "bool", shape: [1, 1, 6, 6], data: new Uint8Array(36) };
    await rewrite((tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        tensors.set(name.replace("transformer.", ""), tensor);
      }
      for (const layer of [0, 1]) tensors.set(`h.${layer}.attn.bias`, mask).set(`h.${layer}.attn.masked_bias`, mask);
      tensors.set("lm_head.weight", tensors.get("wte.weight") as HostArray);
    });
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(model));
  });

  it.each(["float16", "bfloat16"] as const)("may be %s, which is converted when it is read", async (dtype: DType) => {
    const model = llama(true);
    await saveModel(model, directory);
    await rewrite((tensors) => {
      for (const [name, tensor] of tensors)
        tensors.set(name, { dtype, shape: tensor.shape, data: encode(dtype, toNumbers(tensor)) } as HostArray);
    });
    const loaded = await loadModel(directory, { kind: "causal-lm" });
    const [original, rounded] = [await values(model), await values(loaded)];
    const precision = dtype === "float16" ? 2 ** -11 : 2 ** -8;
    for (const [path, numbers] of Object.entries(original))
      numbers.forEach((value, i) => {
        expect(Math.abs((rounded[path]?.[i] as number) - value)).toBeLessThanOrEqual(precision * Math.abs(value) + 1e-7);
      });
    expect(rounded).not.toEqual(original);
    await saveModel(loaded, directory); // over the file that it lies in, as float32 now
    expect(await values(loaded)).toEqual(rounded);
    expect([...loaded.parameters().values()].every(({ file }) => file !== undefined)).toBe(true);
  });

  it("keeps the ids of special tokens and the generation settings when it is saved again", async () => {
    await saveModel(llama(true), directory);
    await writeFile(
      join(directory, "config.json"),
      JSON.stringify({ ...(await config()), eos_token_id: [2, 7], bos_token_id: 1 }),
    );
    await writeFile(join(directory, "generation_config.json"), JSON.stringify({ temperature: 0.6 }));
    const model = await loadModel(directory, { kind: "causal-lm" });
    directory = join(folder, "tuned");
    await saveModel(model, directory);
    expect(await config()).toMatchObject({ eos_token_id: [2, 7], bos_token_id: 1, pad_token_id: null });
    expect(JSON.parse(await readFile(join(directory, "generation_config.json"), "utf8"))).toEqual({ temperature: 0.6 });
  });

  it("reads the base of the rotary wavelengths where old and new releases write it", async () => {
    await saveModel(llama(true), directory);
    const { rope_parameters: parameters, rope_theta: theta, ...rest } = await config();
    expect([parameters, theta]).toEqual([{ rope_type: "default", rope_theta: 500 }, 500]);
    expect(modelFromConfig({ ...rest, rope_parameters: parameters }, undefined, "causal-lm").toConfig()).toMatchObject({
      ropeTheta: 500,
    });
    expect(modelFromConfig({ ...rest, rope_theta: 700 }, undefined, "causal-lm").toConfig()).toMatchObject({ ropeTheta: 700 });
    expect(modelFromConfig(rest, undefined, "causal-lm").toConfig()).toMatchObject({ ropeTheta: 10_000 });
  });
});

describe("a directory that does not fit is refused whole", () => {
  beforeEach(() => saveModel(gpt2(), directory));

  it("names all that is missing, unknown or of another shape at once", async () => {
    await rewrite((tensors) => {
      tensors.delete("transformer.ln_f.weight");
      tensors.delete("transformer.h.0.ln_1.bias");
      tensors.set("transformer.ln_g.weight", { dtype: "float32", shape: [1], data: new Float32Array(1) });
      tensors.set("transformer.wpe.weight", { dtype: "float32", shape: [5, 8], data: new Float32Array(40) });
      tensors.set("transformer.ln_f.bias", { dtype: "int32", shape: [8], data: new Int32Array(8) });
    });
    const error = await loadModel(directory, { kind: "causal-lm" }).catch((cause: Error) => cause);
    expect(error).toMatchObject({ code: "CHECKPOINT" });
    for (const part of [
      /missing: transformer\.h\.0\.ln_1\.bias, transformer\.ln_f\.weight$/m,
      /not expected: transformer\.ln_g\.weight$/m,
      /transformer\.wpe\.weight is \[5, 8\] and should be \[6, 8\]/,
      /transformer\.ln_f\.bias is int32 and should be float32/,
      /nothing of it was loaded/,
    ])
      expect((error as Error).message).toMatch(part);
  });

  it("refuses a truncated and a foreign file", async () => {
    const path = join(directory, "model.safetensors");
    await truncate(path, (await readFile(path)).length - 3);
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CHECKPOINT", /tensor "transformer\.\S+" ends at byte/),
    );
    await writeFile(path, "a pickle, perhaps");
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CHECKPOINT", /cannot be read as safetensors/),
    );
  });

  it("refuses a configuration of another architecture, or one that it cannot follow", async () => {
    const original = await config();
    const write = (changed: object) => writeFile(join(directory, "config.json"), JSON.stringify({ ...original, ...changed }));
    await write({ model_type: "mamba" });
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CONFIG", /config\.json has model_type "mamba"; known are gpt2, /),
    );
    await write({ model_type: undefined });
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(fails("CONFIG", /has no model_type/));
    await write({ n_layer: 0, activation_function: "relu" });
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CONFIG", /n_layer[\s\S]*activation_function/),
    );
    await write({ n_head: 3 });
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CONFIG", /config\.json: GPT2: nEmbd 8 cannot be shared by nHead 3 evenly/),
    );
    await writeFile(join(directory, "config.json"), '{"model_type": "gp');
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CONFIG", /config\.json is not JSON; it may be truncated/),
    );
    await writeFile(join(directory, "config.json"), "[]");
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(fails("CONFIG", /does not hold an object/));
  });

  it("says what a directory without a model holds", async () => {
    await rm(join(directory, "model.safetensors"));
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CHECKPOINT", /no model\.safetensors in .*whale\. It holds config\.json/),
    );
    await writeFile(join(directory, "pytorch_model.bin"), "");
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(
      fails("CHECKPOINT", /PyTorch's own format: save it as safetensors/),
    );
    await writeFile(join(directory, "model-00001-of-00002.safetensors"), "");
    await expect(loadModel(directory, { kind: "causal-lm" })).rejects.toThrow(fails("CHECKPOINT", /spread over several files/));
    await expect(loadModel(join(folder, "nowhere"), { kind: "causal-lm" })).rejects.toThrow(
      fails("CONFIG", /is not a saved model.*empty or does not exist/),
    );
  });
});

describe("saving", () => {
  it("writes the tokenizer beside the model", async () => {
    await saveModel(gpt2(), directory, { tokenizer: await trainTokenizer("call me ishmael", { model: "character" }) });
    expect(await readdir(directory)).toEqual(expect.arrayContaining(["tokenizer.json", "tokenizer_config.json"]));
  });

  it("leaves nothing behind when a new directory cannot be completed, and the old file when one is replaced", async () => {
    const broken = gpt2();
    broken.lnF.weight.moveTo({ read: () => Promise.reject(new Error("the device was lost")) });
    await expect(saveModel(broken, directory)).rejects.toThrow("the device was lost");
    expect(await readdir(join(folder, "models"))).toEqual([]);
    const model = gpt2();
    await saveModel(model, directory);
    await expect(saveModel(broken, directory)).rejects.toThrow("the device was lost");
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(model));
    expect((await readdir(directory)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
  });

  it("moves parameters that lay in the file it replaces, and another model notices that its file is gone", async () => {
    await saveModel(gpt2(), directory);
    const [model, other] = [await loadModel(directory, { kind: "causal-lm" }), await loadModel(directory, { kind: "causal-lm" })];
    const before = await values(model);
    model
      .variables()
      .get("lnF.weight")
      ?.write({ dtype: "float32", shape: [8], data: new Float32Array(8).fill(5) });
    await saveModel(model, directory);
    expect(await values(model)).toEqual({ ...before, "lnF.weight": Array(8).fill(5) });
    await expect(values(other)).rejects.toThrow(fails("CHECKPOINT", /was replaced or removed after tensor .* was opened in it/));
    await expect(logits(other, { dtype: "int32", shape: [1, 1], data: Int32Array.of(1) }, true)).rejects.toThrow(
      fails("CHECKPOINT", /was replaced or removed/),
    );
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(model));
  });

  it("spreads the parameters over files of a limited size, in fewer bits, and says so in the configuration", async () => {
    const model = llama(true);
    await saveModel(model, directory, { dtype: "bfloat16", maxShardBytes: 600 });
    const names = await readdir(directory);
    expect(names.filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(2);
    expect(names).toContain("model.safetensors.index.json");
    expect(await config()).toMatchObject({ dtype: "bfloat16", torch_dtype: "bfloat16" });
    const rounded = Object.entries(await values(model)).map(([path, row]) => [
      path,
      row.map((value) => roundTo("bfloat16", value)),
    ]);
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(Object.fromEntries(rounded));
  });

  it("takes a model by its name from the hub", async () => {
    await saveModel(gpt2(), directory, { maxShardBytes: 2000 });
    await using hub = await hubServer("whales/moby");
    for (const name of await readdir(directory)) hub.files.set(name, await readFile(join(directory, name)));
    const options = { hubUrl: hub.url, cacheFolder: join(folder, "cache") };
    expect(await values(await loadModel("whales/moby", { ...options, kind: "causal-lm" }))).toEqual(await values(gpt2()));
    await expect(loadModel("whales/pequod", options)).rejects.toThrow(fails("NETWORK", /There is no directory whales\/pequod/));
  });

  it("takes the parameters from another file when it is told to", async () => {
    const model = gpt2();
    await saveModel(model, directory);
    const elsewhere = join(folder, "step-000100.safetensors");
    await copyFile(join(directory, "model.safetensors"), elsewhere);
    await rm(join(directory, "model.safetensors"));
    expect(await values(await loadModel(directory, { kind: "causal-lm", weights: elsewhere }))).toEqual(await values(model));
  });
});

describe("an output layer in the file of a model whose configuration ties it", () => {
  const size = { vocabSize: 11, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
  const logitsOf = async (model: CausalLM) => {
    await using program = compile(
      ({ ids }) => ({ logits: model.forward(ids) }),
      { ids: int32("batch", "seq") },
      { training: false },
    );
    return (await program({ ids: [[1, 2, 3]] })).logits.toNumbers();
  };

  it.each([
    ["is taken where it is another one", 0.5],
    ["is passed over where it repeats the embedding", 0],
  ])("%s", async (_, change) => {
    const directory = join(folder, `tied-${change}`);
    const model = new Llama({ ...size, tieWordEmbeddings: false }).initialize(1);
    const embedding = await model.embedTokens.weight.read();
    const head = { ...embedding, data: (embedding.data as Float32Array).map((value) => value + change) } as typeof embedding;
    model.lmHead?.weight.write(head);
    const expected = await logitsOf(model);
    await saveModel(model, directory);
    const path = join(directory, "config.json");
    const config = JSON.parse(await readFile(path, "utf8")) as object;
    await writeFile(path, JSON.stringify({ ...config, tie_word_embeddings: true }));
    const loaded = await loadModel(directory, { kind: "causal-lm" });
    expect(loaded.toConfig()).toMatchObject({ tieWordEmbeddings: change === 0 });
    expect([...(await logitsOf(loaded))]).toEqual([...expected].map((value) => expect.closeTo(value, 5)));
  });

  it("is refused where the architecture has no output layer of its own", async () => {
    const directory = join(folder, "tied-gpt2");
    await saveModel(gpt2(), directory);
    const path = join(directory, "model.safetensors");
    await using file = await readSafetensors(path);
    const entries = await Promise.all([...file.tensors.keys()].map(async (name) => ({ name, ...(await file.read(name)) })));
    const wte = entries.find(({ name }) => name === "transformer.wte.weight") as (typeof entries)[number];
    const other = { ...wte, name: "lm_head.weight", data: (wte.data as Float32Array).map((value) => value + 1) };
    await writeSafetensors(
      path,
      [...entries, other].map(({ name, dtype, shape, data }) => ({ name, dtype, shape, data: () => data as Float32Array })),
    );
    await expect(loadModel(directory)).rejects.toThrow(
      fails("CONFIG", /whose weights have an output layer that is not the embedding/),
    );
  });
});

describe("saving over another model", () => {
  const other = () => new GPT2({ vocabSize: 20, nEmbd: 12, nLayer: 1, nHead: 2, nPositions: 6 }).initialize(9);
  const mine = async () => (await readdir(join(folder, "models"))).sort();

  it("leaves the old model where writing the new one fails, and nothing beside it", async () => {
    const old = gpt2();
    await saveModel(old, directory);
    const failing = other();
    const broken = [...failing.parameters().values()].at(-1) as unknown as { read: () => Promise<never> };
    broken.read = async () => Promise.reject(Object.assign(new Error("no space left on device"), { code: "ENOSPC" }));
    await expect(saveModel(failing, directory)).rejects.toThrow(/no space left/);
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(old));
    expect(await mine()).toEqual(["whale"]);
  });

  it("is completed by the next one who comes, where it was killed while the files took their places", async () => {
    await saveModel(gpt2(), directory);
    const [model, complete] = [other(), join(folder, "models", "complete")];
    await saveModel(model, complete);
    // As a kill leaves it after the first file: the configuration is new, the weights are old.
    const from = ".whale-0a1b2c3d";
    await rename(complete, join(folder, "models", from));
    await announceReplacement(join(folder, "models", from), directory, ["model-00001-of-00002.safetensors"]);
    await writeFile(join(directory, "model-00001-of-00002.safetensors"), "old");
    await rename(join(folder, "models", from, "config.json"), join(directory, "config.json"));
    expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(model));
    expect((await readdir(directory)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
    expect(await mine()).toEqual(["whale"]);
  });

  it.each([Number.POSITIVE_INFINITY, 600])(
    "is completed later where a file cannot take its place (files of %d bytes)",
    async (maxShardBytes) => {
      await saveModel(gpt2(), directory, { maxShardBytes });
      const model = other();
      await rm(join(directory, "generation_config.json"));
      await mkdir(join(directory, "generation_config.json", "taken"), { recursive: true });
      await expect(saveModel(model, directory)).rejects.toThrow(/EISDIR|ENOTEMPTY|EPERM|EEXIST/);
      await expect(loadModel(directory)).rejects.toThrow(/EISDIR|ENOTEMPTY|EPERM|EEXIST/); // rather than a mixture of both
      await rm(join(directory, "generation_config.json"), { recursive: true });
      expect(await values(await loadModel(directory, { kind: "causal-lm" }))).toEqual(await values(model));
      expect((await readdir(directory)).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
      expect(await mine()).toEqual(["whale"]);
    },
  );

  it("is refused, and nothing removed, where new files are lost", async () => {
    await saveModel(gpt2(), directory, { maxShardBytes: 600 });
    const before = (await readdir(directory)).sort();
    const from = join(folder, "models", ".whale-0a1b2c3d");
    await saveModel(other(), from);
    await announceReplacement(
      from,
      directory,
      before.filter((name) => name.endsWith(".safetensors")),
    );
    await rename(join(from, "config.json"), join(directory, "config.json"));
    await rm(from, { recursive: true });
    await expect(loadModel(directory)).rejects.toThrow(
      fails("CHECKPOINT", /generation_config\.json, model\.safetensors\. The files/),
    );
    expect((await readdir(directory)).sort()).toEqual([".replacing.json", ...before]);
    await writeFile(join(directory, ".replacing.json"), "{}");
    await expect(loadModel(directory)).rejects.toThrow(fails("CHECKPOINT", /not a note of an interrupted save/));
  });

  it("removes what a kill left beside it long ago, and nothing that others made", async () => {
    for (const name of [".whale-00000000", ".whale-11111111", ".whale-mine"])
      await mkdir(join(folder, "models", name), { recursive: true });
    const before = new Date(Date.now() - 7_200_000);
    await utimes(join(folder, "models", ".whale-00000000"), before, before);
    await saveModel(gpt2(), directory);
    expect(await mine()).toEqual([".whale-11111111", ".whale-mine", "whale"]);
  });
});
