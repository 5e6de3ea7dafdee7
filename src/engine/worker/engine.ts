/**
 * An engine in a worker: the thread that uses it stays responsive while it runs. ONNX Runtime's `run` blocks its thread
 * from beginning to end, so a server, a page and a progress bar want it here.
 */

import { startWorker } from "#platform/engine/worker/start";
import { ArgumentError, TsumikiError } from "../../errors.js";
import type { DType } from "../../graph/dtype.js";
import type { HostArray } from "../../graph/host-array.js";
import { copyOf, notOwned } from "../buffers.js";
import type { Device, Engine, EngineBuffer, LoadedModel, Lowering, ModelSource } from "../engine.js";
import { Lifecycle } from "../lifecycle.js";
import { type EngineOptions, loweringOf } from "../registry.js";
import {
  type BufferTicket,
  type CallName,
  type Calls,
  fromPlainError,
  type Reply,
  type Request,
  transferOf,
} from "./protocol.js";

/** A worker, whatever the platform calls its parts. */
export interface WorkerHandle {
  post(request: Request, transfer: ArrayBuffer[]): void;
  onReply(listener: (reply: Reply) => void): void;
  /** The worker cannot be used any more. */
  onFailure(listener: (error: Error) => void): void;
  /** Whether an answer is awaited. */
  setBusy(busy: boolean): void;
  terminate(): Promise<void>;
}

/**
 * Starts a worker and in it the engine that the options choose; any that takes ONNX models. Data goes there and back as
 * copies, as with every engine; closing the engine ends the worker. Throws what `createEngine` would.
 */
export async function inWorker(options: Omit<EngineOptions, "worker"> = {}): Promise<Engine> {
  if (options.engine === "reference")
    throw new ArgumentError("The reference engine reads graphs, not ONNX models: it cannot be in a worker.");
  const connection = new Connection(startWorker());
  try {
    const description = await connection.call("create", [options]);
    return new WorkerEngine(connection, description, await loweringOf(description.name, description.device));
  } catch (error) {
    await connection.close();
    throw error;
  }
}

interface Pending {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Calls with numbers, so that each finds its answer. */
class Connection {
  readonly #worker: WorkerHandle;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #failure: TsumikiError | undefined;

  constructor(worker: WorkerHandle) {
    this.#worker = worker;
    worker.onReply((reply) => this.#settle(reply));
    worker.onFailure((error) =>
      this.#fail(new TsumikiError("ENGINE", `The engine's worker failed: ${error.message}.`, { cause: error })),
    );
  }

  call<K extends CallName>(
    call: K,
    parameters: Parameters<Calls[K]>,
    transfer: ArrayBuffer[] = [],
  ): Promise<ReturnType<Calls[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#failure) throw this.#failure;
      const id = this.#nextId++;
      this.#worker.post({ id, call, parameters }, transfer);
      this.#pending.set(id, { resolve, reject });
      this.#worker.setBusy(true);
    });
  }

  async close(): Promise<void> {
    this.#fail(new TsumikiError("RELEASED", "The engine was used after it was closed."));
    await this.#worker.terminate();
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return; // nobody waits any more: the engine was closed, and the worker's end is what is waited for
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) this.#worker.setBusy(false);
    if ("error" in reply) pending.reject(fromPlainError(reply.error));
    else pending.resolve(reply.result as never);
  }

  #fail(error: TsumikiError): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

class WorkerEngine implements Engine {
  readonly name: string;
  readonly device: Device;
  readonly version: string;
  readonly threads: number;
  readonly lowering: Lowering;
  readonly overwritesInputs: boolean;
  readonly #connection: Connection;
  readonly #tickets = new WeakMap<EngineBuffer, number>();
  readonly #lifecycle: Lifecycle;

  constructor(connection: Connection, description: ReturnType<Calls["create"]>, lowering: Lowering) {
    const { name, device, version, threads, overwritesInputs } = description;
    this.overwritesInputs = overwritesInputs;
    this.#connection = connection;
    this.name = name;
    this.device = device;
    this.version = version;
    this.threads = threads;
    this.lowering = lowering;
    this.#lifecycle = new Lifecycle(name);
  }

  async allocate(dtype: DType, shape: readonly number[]): Promise<EngineBuffer> {
    return this.#keep(await this.#connection.call("allocate", [dtype, [...shape]]));
  }

  async upload(array: HostArray): Promise<EngineBuffer> {
    const copy = copyOf(array);
    return this.#keep(await this.#connection.call("upload", [copy], transferOf(copy)));
  }

  async view(buffer: EngineBuffer, start: number, shape: readonly number[]): Promise<EngineBuffer> {
    return this.#keep(await this.#connection.call("view", [this.#id(buffer), start, [...shape]]));
  }

  async write(buffer: EngineBuffer, array: HostArray): Promise<void> {
    const copy = copyOf(array);
    await this.#connection.call("write", [this.#id(buffer), copy], transferOf(copy));
  }

  async read(buffer: EngineBuffer): Promise<HostArray> {
    return this.#connection.call("read", [this.#id(buffer)]);
  }

  async release(buffer: EngineBuffer): Promise<void> {
    const id = this.#tickets.get(buffer);
    if (id === undefined || this.#lifecycle.isClosed) return;
    this.#tickets.delete(buffer);
    await this.#connection.call("release", [id]);
  }

  async load(source: ModelSource): Promise<LoadedModel> {
    const model = source.onnx().slice(); // the caller may keep its own
    const id = await this.#connection.call("load", [model, source.externalFiles, source.overwrites], transferOf({ data: model }));
    return {
      run: async (inputs, outputs) => {
        const produced = await this.#connection.call("run", [
          id,
          [...inputs].map(([name, buffer]) => [name, this.#id(buffer)] as const),
          [...outputs].map(([name, buffer]) => [name, buffer && this.#id(buffer)] as const),
        ]);
        return new Map(produced.map(([name, ticket]) => [name, outputs.get(name) ?? this.#keep(ticket)]));
      },
      release: async () => {
        if (!this.#lifecycle.isClosed) await this.#connection.call("releaseModel", [id]);
      },
    };
  }

  beforeClose(task: () => Promise<void>): void {
    this.#lifecycle.beforeClose(task);
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      try {
        await this.#connection.call("close", []);
      } finally {
        await this.#connection.close();
      }
    });
  }

  #keep({ id, dtype, shape }: BufferTicket): EngineBuffer {
    const buffer: EngineBuffer = { dtype, shape };
    this.#tickets.set(buffer, id);
    return buffer;
  }

  #id(buffer: EngineBuffer): number {
    const id = this.#tickets.get(buffer);
    if (id === undefined) throw notOwned();
    return id;
  }
}
