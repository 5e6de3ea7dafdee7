import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { fromSource } from "../../scripts/from-source.mjs";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { hostArray } from "../graph/host-array.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { compile } from "../program/compile.js";
import { int32 } from "../program/signature.js";
import { trainTokenizer } from "../tokenizer/train.js";
import { type GenerateOptions, generate, generateTokens } from "./generate.js";

const engine = await onnxRuntimeNode({ threads: 1 });
const tokenizer = await trainTokenizer("abcdefgh", { model: "character" });
const contextLength = 6;
const modelOf = (seed: number, vocabSize = tokenizer.vocabSize) =>
  new GPT2({ vocabSize, nEmbd: 12, nLayer: 1, nHead: 2, nPositions: contextLength, initializerRange: 0.8 }).initialize(seed);
const model = modelOf(1);

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

const textOf = async (prompt: string, options: GenerateOptions = {}, from = model) =>
  (await all(generate(from, tokenizer, prompt, { engine, ...options }))).join("");

/** What follows `ids` when the likeliest token is taken each time, by the model's logits for all positions. */
async function likeliest(ids: readonly number[], count: number): Promise<number[]> {
  await using program = compile(({ x }) => ({ logits: model.forward(x) }), { x: int32(1, "seq") }, { engine });
  const found = [...ids];
  for (let i = 0; i < count; i++) {
    const { logits } = await program({ x: [found.slice(-contextLength)] });
    const last = logits.toNumbers().slice(-tokenizer.vocabSize);
    found.push(last.indexOf(Math.max(...last)));
  }
  return found.slice(ids.length);
}

describe("generate", () => {
  it("continues with what the model finds likely, and slides where the context ends", async () => {
    for (const prompt of ["a", "hgf", "abcabcabcabc"]) {
      const ids = [...tokenizer.encode(prompt)];
      const expected = await likeliest(ids, 10);
      expect(await all(generateTokens(model, ids, { engine, temperature: 0, maxTokens: 10 }))).toEqual(expected);
      expect(await textOf(prompt, { temperature: 0, maxTokens: 10 })).toBe(tokenizer.decode(expected));
    }
  });

  it("is the same for the same seed, and not for another", async () => {
    const draw = (seed?: number) => textOf("abc", { maxTokens: 30, temperature: 1.5, ...(seed === undefined ? {} : { seed }) });
    const first = await draw(1);
    expect(first).toHaveLength(30);
    expect(await draw(1)).toBe(first);
    expect(await draw(2)).not.toBe(first);
    expect(await draw()).toBe(await draw(0));
  });

  it("stops at maxTokens, and at a stop token, which is not part of the text", async () => {
    const text = await textOf("ab", { temperature: 0, maxTokens: 12 });
    expect(text).toHaveLength(12);
    const stop = text[5] as string;
    expect(await textOf("ab", { temperature: 0, maxTokens: 12, stopTokens: [stop] })).toBe(text.slice(0, text.indexOf(stop)));
    const absent = [..."abcdefgh"].find((letter) => !text.includes(letter)) as string;
    expect(await textOf("ab", { temperature: 0, maxTokens: 12, stopTokens: [absent] })).toBe(text);
    expect(await textOf("ab", { maxTokens: 0 })).toBe("");
    expect(await textOf("ab", { temperature: 0 })).toHaveLength(100);
  });

  it("yields whole characters", async () => {
    const bytes = await trainTokenizer("ünïcödé — 積み木", { model: "bpe", vocabSize: 256 });
    const byteModel = modelOf(3, 256);
    const ids = await all(generateTokens(byteModel, [65], { engine, maxTokens: 60, temperature: 2 }));
    const pieces = await all(generate(byteModel, bytes, bytes.decode([65]), { engine, maxTokens: 60, temperature: 2 }));
    expect(ids.filter((id) => id !== bytes.tokenToId("A")).length).toBeGreaterThan(40);
    expect(pieces.join("")).toBe(bytes.decode(ids));
    expect(pieces.every((piece) => piece.length > 0)).toBe(true);
  });

  it("compiles once for a model, and again when its weights have changed", async () => {
    let loads = 0;
    const counted = new Proxy(engine, {
      get(target, key) {
        if (key === "load") loads++;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    }) as Engine;
    const own = modelOf(5);
    const say = () => textOf("abcd", { engine: counted, temperature: 0, maxTokens: 5 }, own);
    const before = await say();
    expect(await say()).toBe(before);
    expect(loads).toBe(1);
    const bias = own.lnF.bias;
    const favourite = own.wte.weight.hostValue().data.slice(12 * 3, 12 * 4) as Float32Array; // of the token 3
    bias?.write(
      hostArray(
        "float32",
        [12],
        favourite.map((value) => 1000 * value),
      ),
    );
    expect(await say()).toBe(tokenizer.decode([3]).repeat(5));
    expect(loads).toBe(2);
  });

  it("can be left early, and be stopped by a signal", async () => {
    const first: string[] = [];
    for await (const piece of generate(model, tokenizer, "a", { engine })) if (first.push(piece) === 3) break;
    expect(first).toHaveLength(3);
    const controller = new AbortController();
    const pieces: string[] = [];
    const stopped = (async () => {
      for await (const piece of generate(model, tokenizer, "a", { engine, signal: controller.signal }))
        if (pieces.push(piece) === 4) controller.abort();
    })();
    await expect(stopped).rejects.toMatchObject({ code: "ABORTED" });
    expect(pieces).toHaveLength(4);
  });

  it("runs for several texts at once", async () => {
    const options = { temperature: 1.2, maxTokens: 20 };
    const alone = [];
    for (const seed of [1, 2, 3]) alone.push(await textOf("ab", { ...options, seed }));
    expect(await Promise.all([1, 2, 3].map((seed) => textOf("ab", { ...options, seed })))).toEqual(alone);
  });

  it.each([
    ["an empty prompt", "", {}, "ARGUMENT", /no tokens/],
    ["a negative maxTokens", "a", { maxTokens: -1 }, "ARGUMENT", /maxTokens/],
    ["half a token", "a", { maxTokens: 1.5 }, "ARGUMENT", /maxTokens/],
    ["a temperature below 0", "a", { temperature: -1 }, "ARGUMENT", /temperature/],
    ["a stop token that is none", "a", { stopTokens: ["<end>"] }, "TOKENIZER", /'<end>'/],
    ["a prompt that cannot be encoded", "z", {}, "TOKENIZER", /./],
  ] as readonly [string, string, GenerateOptions, string, RegExp][])("refuses %s", async (_, prompt, options, code, message) => {
    await expect(textOf(prompt, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("says that a model is broken instead of babbling", async () => {
    const broken = modelOf(6);
    broken.lnF.weight.write(hostArray("float32", [12], new Float32Array(12).fill(Number.NaN)));
    await expect(textOf("a", {}, broken)).rejects.toMatchObject({ code: "NOT_FINITE" });
  });

  it("frees the programs of earlier models without waiting for the garbage collector", async () => {
    const target = await onnxRuntimeNode({ threads: 1 });
    let loaded = 0;
    const load: Engine["load"] = async (source) => {
      const model = await target.load(source);
      loaded++;
      return {
        run: model.run,
        async release() {
          loaded--;
          await model.release();
        },
      };
    };
    const engine = new Proxy(target, {
      get(_, key) {
        const value = key === "load" ? load : (Reflect.get(target, key, target) as unknown);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const models = Array.from({ length: 6 }, () => modelOf(6)); // all are held
    const begin = async (model: GPT2) => {
      for await (const _ of generateTokens(model, [1], { engine, maxTokens: 3 })) break;
    };
    for (const model of models) {
      await begin(model);
      expect(loaded).toBeLessThanOrEqual(2);
    }
    // Texts that are being made at the same time keep their programs.
    const texts = models.map((model) => generateTokens(model, [1], { engine, maxTokens: 2 }));
    await Promise.all(texts.map((text) => text.next()));
    expect(loaded).toBe(6);
    for (const text of texts) expect((await text.next()).done).toBe(false);
    for (const text of texts) expect((await text.next()).done).toBe(true);
    expect(loaded).toBe(2);
    await target.close();
  });

  it("keeps nothing of models that nobody refers to any more", () => {
    const source = (from: string) => JSON.stringify(new URL(from, import.meta.url));
    // Weights of 8 MiB a model, and a copy of them in each session.
    const script = `
      import { onnxRuntimeNode } from ${source("../engine/onnxruntime/node.ts")};
      import { GPT2 } from ${source("../models/decoders/gpt2.ts")};
      import { generateTokens } from ${source("./generate.ts")};
      const engine = await onnxRuntimeNode({ threads: 1 });
      const memory = async () => {
        for (let i = 0; i < 5; i++) {
          globalThis.gc();
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return process.memoryUsage().rss;
      };
      let before = 0;
      for (let i = 0; i < 18; i++) {
        if (i === 5) before = await memory();
        const model = new GPT2({ vocabSize: 8192, nEmbd: 256, nLayer: 0, nHead: 2, nPositions: 8 });
        model.wte.weight.write({ dtype: "float32", shape: [8192, 256], data: new Float32Array(8192 * 256) });
        for await (const id of generateTokens(model, [1], { engine, maxTokens: 1 }));
        if (i % 4 === 3) await memory();
      }
      console.log((await memory()) - before);
    `;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...fromSource, "--expose-gc", "--input-type=module", "--eval", script],
      { encoding: "utf8", cwd: fileURLToPath(new URL("../../", import.meta.url)) },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(Number(stdout) / 2 ** 20).toBeLessThan(120);
  });
});
