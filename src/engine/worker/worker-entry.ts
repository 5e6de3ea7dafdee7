/** What runs in the worker: an engine as it is, answering calls. */

import { onRequest, postReply } from "#platform/engine/worker/inside";
import { TsumikiError } from "../../errors.js";
import type { Engine, EngineBuffer, LoadedModel } from "../engine.js";
import { createEngine } from "../registry.js";
import { type BufferTicket, type CallName, type Calls, type Request, toPlainError, transferOf } from "./protocol.js";

let engine: Engine | undefined;
let nextId = 0;
const buffers = new Map<number, EngineBuffer>();
const ids = new Map<EngineBuffer, number>();
const models = new Map<number, LoadedModel>();

function theEngine(): Engine {
  if (!engine) throw new TsumikiError("RELEASED", "The engine was used before it was made, or after it was closed.");
  return engine;
}

function ticket(buffer: EngineBuffer): BufferTicket {
  const id = ids.get(buffer) ?? nextId++;
  ids.set(buffer, id);
  buffers.set(id, buffer);
  return { id, dtype: buffer.dtype, shape: buffer.shape };
}

function bufferOf(id: number): EngineBuffer {
  const buffer = buffers.get(id);
  if (!buffer) throw new TsumikiError("RELEASED", "The buffer was released.");
  return buffer;
}

type Answers = { readonly [K in CallName]: (...parameters: Parameters<Calls[K]>) => Promise<ReturnType<Calls[K]>> };

const answers: Answers = {
  async create(options) {
    engine = await createEngine(options);
    const { name, device, version, threads, overwritesInputs = false } = engine;
    return { name, device, version, threads, overwritesInputs };
  },
  allocate: async (dtype, shape) => ticket(await theEngine().allocate(dtype, shape)),
  upload: async (array) => ticket(await theEngine().upload(array)),
  write: (buffer, array) => theEngine().write(bufferOf(buffer), array),
  read: (buffer) => theEngine().read(bufferOf(buffer)),
  async view(id, start, shape) {
    const view = await theEngine().view?.(bufferOf(id), start, shape);
    if (!view) throw new TsumikiError("ENGINE", `The engine ${theEngine().name} has no views of its buffers.`);
    return ticket(view);
  },
  async release(id) {
    const buffer = buffers.get(id);
    if (!buffer) return;
    buffers.delete(id);
    ids.delete(buffer);
    await theEngine().release(buffer);
  },
  async load(model, externalFiles, overwrites) {
    const loaded = await theEngine().load({
      get graph(): never {
        throw new TsumikiError(
          "ENGINE",
          `The engine ${theEngine().name} reads graphs, not ONNX models: it cannot be in a worker.`,
        );
      },
      onnx: () => model,
      externalFiles,
      frozen: new Map(), // they are in the model
      ...(overwrites && { overwrites }),
    });
    models.set(nextId, loaded);
    return nextId++;
  },
  async run(model, inputs, outputs) {
    const loaded = models.get(model);
    if (!loaded) throw new TsumikiError("RELEASED", "The model was used after its release.");
    const produced = await loaded.run(
      new Map(inputs.map(([name, id]) => [name, bufferOf(id)])),
      new Map(outputs.map(([name, id]) => [name, id === undefined ? undefined : bufferOf(id)])),
    );
    return [...produced].map(([name, buffer]) => [name, ticket(buffer)] as const);
  },
  async releaseModel(id) {
    const model = models.get(id);
    models.delete(id);
    await model?.release();
  },
  async close() {
    await engine?.close();
    engine = undefined;
    for (const map of [buffers, ids, models]) map.clear();
  },
};

async function answer({ id, call, parameters }: Request): Promise<void> {
  try {
    const result = await (answers[call] as (...parameters: readonly unknown[]) => Promise<unknown>)(...parameters);
    // What was read is a copy already.
    postReply({ id, result }, call === "read" ? transferOf(result as Awaited<ReturnType<Calls["read"]>>) : []);
  } catch (error) {
    postReply({ id, error: toPlainError(error) }, []);
  }
}

onRequest((request) => void answer(request));
