import { mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { readSafetensors } from "../checkpoint/safetensors.node.js";
import type { Engine, EngineBuffer } from "../engine/engine.js";
import { modelSource } from "../engine/model-source.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { add, gather, type HostArray, hostArray, mul, Parameter, sum, toNumbers, type Variable } from "../graph/index.js";
import type { Tensor } from "../graph/tensor.js";
import { Embedding, Linear, Module } from "../nn/index.js";
import { compile } from "./compile.js";
import { frozenWeights } from "./frozen-weights.js";
import { float32, int32 } from "./signature.js";

const engines: readonly (readonly [string, Engine])[] = [
  ["onnxruntime", await onnxRuntimeNode({ threads: 1 })],
  ["reference", referenceEngine()],
];

const folder = await mkdtemp(join(tmpdir(), "tsumiki-frozen-"));
afterAll(() => rm(folder, { recursive: true }));

/** Counts the models that an engine is given. */
function counting(engine: Engine) {
  const counts = { loaded: 0 };
  const counted = new Proxy(engine, {
    get(target, key) {
      if (key === "load") counts.loaded++;
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { counts, engine: counted };
}

const vector = (...values: number[]): HostArray<"float32"> => hostArray("float32", [values.length], Float32Array.from(values));
const parameterOf = (...values: number[]): Parameter =>
  new Parameter([values.length], { name: "weight", initializer: () => Float32Array.from(values) });

class Net extends Module {
  readonly embed = new Embedding(5, 7);
  readonly first = new Linear(7, 9);
  readonly second = new Linear(9, 3);

  forward(ids: Tensor): Tensor {
    return this.second.forward(this.first.forward(this.embed.forward(ids)).tanh());
  }
}

/** A safetensors file whose tensors lie at odd offsets, as the format allows. */
async function writeUnaligned(path: string, tensors: ReadonlyMap<string, HostArray>): Promise<void> {
  const header: Record<string, unknown> = { flag: { dtype: "U8", shape: [3], data_offsets: [0, 3] } };
  const parts: Uint8Array[] = [Uint8Array.of(1, 2, 3)];
  let end = 3;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + data.byteLength] };
    parts.push(new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength));
    end += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header).padEnd(8 * Math.ceil(JSON.stringify(header).length / 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(path, Buffer.concat([length, text, ...parts]));
}

/** Makes the file the home of the variables. */
async function openIn(path: string, variables: ReadonlyMap<string, Variable>): Promise<void> {
  await using file = await readSafetensors(path);
  for (const [name, variable] of variables) {
    const layout = file.tensors.get(name);
    if (!layout) throw new Error(`no ${name}`);
    expect(layout.byteOffset % 4).not.toBe(0);
    const read = async () => {
      await using again = await readSafetensors(path);
      return again.read(name);
    };
    variable.moveTo({ read, file: { path, byteOffset: layout.byteOffset, byteLength: layout.byteLength } });
  }
}

const ids = (batch: number, seq: number): number[][] =>
  Array.from({ length: batch }, (_, b) => Array.from({ length: seq }, (_, t) => (b + 2 * t) % 5));

describe.each(engines)("a frozen program on %s", (_, engine) => {
  it("is compiled again when a variable has another value, and only then", async () => {
    const { counts, engine: counted } = counting(engine);
    const weight = parameterOf(1, 2);
    await using frozen = compile(
      ({ x }) => ({ y: mul(x, weight) }),
      { x: float32("batch", 2) },
      { engine: counted, frozen: true },
    );
    await using train = compile(
      ({ by }) => {
        weight.assign(add(weight, by));
        return {};
      },
      { by: float32() },
      { engine },
    );
    const run = async () => [...(await frozen({ x: [[1, 1]] })).y.toNumbers()];
    expect([
      await run(),
      await run(),
      (
        await frozen({
          x: [
            [1, 1],
            [2, 2],
          ],
        })
      ).y.shape,
    ]).toEqual([
      [1, 2],
      [1, 2],
      [2, 2],
    ]);
    expect(counts.loaded).toBe(1);
    weight.write(vector(5, 6));
    expect([await run(), await run()]).toEqual([
      [5, 6],
      [5, 6],
    ]);
    expect(counts.loaded).toBe(2);
    await train({ by: 10 });
    expect(await run()).toEqual([15, 16]);
    expect(counts.loaded).toBe(3);
    // A refused update is no new value.
    await train({ by: 10 }, { commit: () => false });
    expect(await run()).toEqual([15, 16]);
    expect(counts.loaded).toBe(3);
  });

  it("sees the state that was there when it was called, though others had to be compiled first", async () => {
    const weight = parameterOf(1);
    // The variable belongs to one engine; store and queue are that engine's.
    const train = compile(
      ({ by }) => {
        weight.assign(add(weight, by));
        return {};
      },
      { by: float32() },
      { engine },
    );
    const frozen = compile(() => ({ weight }), {}, { engine, frozen: true });
    const calls = [1, 10, 100].map((by) => [train({ by }), frozen({})] as const);
    expect(await Promise.all(calls.map(async ([, call]) => (await call).weight.item()))).toEqual([2, 12, 112]);
    await Promise.all([train.release(), frozen.release()]);
  });

  it("does not freeze what it assigns", async () => {
    const [count, weight] = [parameterOf(0), parameterOf(3)];
    const { counts, engine: counted } = counting(engine);
    await using program = compile(
      () => {
        count.assign(add(count, weight));
        return { count };
      },
      {},
      { engine: counted, frozen: true },
    );
    const seen = [];
    for (let i = 0; i < 3; i++) seen.push((await program({})).count.item());
    expect(seen).toEqual([0, 3, 6]);
    expect(counts.loaded).toBe(1);
  });

  it("gives the results of one that is not, its weights being data or lying in a file, at odd offsets too", async () => {
    const model = new Net().initialize(6);
    const program = (frozen: boolean) =>
      compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: int32("batch", "seq") }, { engine, frozen });
    const [open, inline] = [program(false), program(true)];
    const batches = [ids(1, 1), ids(3, 4), ids(2, 6)];
    const expected: HostArray[] = [];
    for (const batch of batches) expected.push((await open({ ids: batch })).logits);
    const compareWith = async (frozen: typeof open) => {
      for (const [i, batch] of batches.entries()) {
        const { logits } = await frozen({ ids: batch });
        expect(logits.shape).toEqual(expected[i]?.shape);
        for (const [k, value] of logits.toNumbers().entries())
          expect(value).toBeCloseTo(toNumbers(expected[i] as HostArray)[k] as number, 6);
      }
    };
    await compareWith(inline);

    const path = join(folder, `${engine.name}.safetensors`);
    const values = new Map<string, HostArray>();
    for (const [name, variable] of model.variables()) values.set(name, await variable.read());
    await writeUnaligned(path, values);
    await openIn(path, model.variables());
    const inFile = program(true);
    await compareWith(inFile);
    await compareWith(inline); // compiled again: the variables have moved
    await compareWith(open);

    // A value from elsewhere takes the place of one in the file, and the others stay there.
    const bias = model.second.bias as Parameter;
    bias.write(hostArray("float32", [3], Float32Array.of(100, 200, 300)));
    const shifted = (await inFile({ ids: ids(1, 1) })).logits.toNumbers();
    for (const [k, value] of shifted.entries())
      expect(value).toBeCloseTo((toNumbers(expected[0] as HostArray)[k] as number) + 100 * (k + 1), 3);
    for (const each of [open, inline, inFile]) await each.release();
  });

  it.each([
    ["bfloat16", [0x3fc0, 0xc000, 0x0001]],
    ["float16", [0x3e00, 0xc000, 0x0001]],
  ] as const)("takes %s out of a file without anybody reading it, at odd offsets too", async (dtype, bits) => {
    const path = join(folder, `${engine.name}-${dtype}.safetensors`);
    await writeFile(path, Buffer.concat([Buffer.alloc(3), Buffer.from(Uint16Array.from(bits).buffer)]));
    const weight = parameterOf(0, 0, 0);
    const read = vi.fn();
    weight.moveTo({ read, file: { path, byteOffset: 3, byteLength: 6, dtype } });
    await using program = compile(({ x }) => ({ y: mul(x, weight) }), { x: float32("batch", 3) }, { engine, frozen: true });
    const smallest = dtype === "float16" ? 2 ** -24 : 2 ** -133;
    // Numbers of float32's smallest range may count as zero.
    const [first, second, third] = (await program({ x: [[1, 1, 1]] })).y.toNumbers();
    expect([first, second]).toEqual([1.5, -2]);
    expect(dtype === "float16" ? [smallest] : [0, smallest]).toContain(third);
    expect(read).not.toHaveBeenCalled();
  });

  it("takes what is too much for a model out of a file that is there meanwhile only", async () => {
    const model = new Net().initialize(6);
    const { constants, externalFiles, loaded } = await frozenWeights(model.variables(), { mostInline: 100 });
    expect(externalFiles).toHaveLength(1);
    const variables = [...model.variables()];
    const graph = {
      inputs: new Map(variables),
      outputs: new Map(variables.map(([name, variable]) => [`${name}.sum`, sum(variable)])),
    };
    const loadedModel = await engine.load(modelSource(engine, graph, { frozen: constants, externalFiles }));
    await loaded();
    await expect(stat(externalFiles[0]?.path as string)).rejects.toMatchObject({ code: "ENOENT" });
    const sums = await loadedModel.run(new Map(), new Map([...graph.outputs.keys()].map((name) => [name, undefined])));
    for (const [name, variable] of variables) {
      const buffer = sums.get(`${name}.sum`) as EngineBuffer;
      const expected = toNumbers(await variable.read()).reduce((total, value) => total + value, 0);
      expect(toNumbers(await engine.read(buffer))[0]).toBeCloseTo(expected, 5);
    }
    await loadedModel.release();
  });

  it("takes weights from several files", async () => {
    const [a, b] = [parameterOf(1, 2, 3), parameterOf(10, 20, 30)];
    for (const [name, variable] of Object.entries({ a, b })) {
      const path = join(folder, `${engine.name}-${name}.safetensors`);
      await writeUnaligned(path, new Map([[name, await variable.read()]]));
      await openIn(path, new Map([[name, variable]]));
    }
    await using program = compile(({ i }) => ({ y: sum(mul(gather(a, i), b)) }), { i: int32(3) }, { engine, frozen: true });
    expect((await program({ i: [2, 1, 0] })).y.item()).toBe(100);
  });

  it("refuses a file that was cut", async () => {
    const weight = parameterOf(...Array.from({ length: 2000 }, (_, i) => i));
    const path = join(folder, `${engine.name}-cut.safetensors`);
    await writeUnaligned(path, new Map([["weight", await weight.read()]]));
    await openIn(path, new Map([["weight", weight]]));
    await truncate(path, 4000);
    await using program = compile(() => ({ total: sum(weight) }), {}, { engine, frozen: true });
    await expect(program({})).rejects.toMatchObject({ code: "ENGINE" });
  });
});
