/**
 * OpenVINO, the fast engine on CPUs: bfloat16 instructions where the processor has them, and less memory. Buffers are memory
 * of JavaScript that it reads and writes in place, so state that changes places costs no copy. Models are compiled and run
 * on other threads.
 */

import { defaultThreads } from "#platform/engine/threads";
import { ArgumentError, DTypeError, ShapeError, TsumikiError } from "../../errors.js";
import { formatShape, sameShape } from "../../graph/dim.js";
import { allocate, checkArray, type DType } from "../../graph/dtype.js";
import { type HostArray, hostArray } from "../../graph/host-array.js";
import { bytesOf, notOwned } from "../buffers.js";
import type { Engine, EngineBuffer, LoadedModel, ModelSource } from "../engine.js";
import { Lifecycle } from "../lifecycle.js";
import type { Handle, OpenVino, OperatorProfile } from "./c-api.js";
import { HostBuffer } from "./host-buffer.js";
import { findOpenVino } from "./library.node.js";
import { openVinoLowering } from "./lowering.js";
import { OpenVinoModel } from "./model.js";
import { ModelCache } from "./model-cache.node.js";

export interface OpenVinoOptions {
  /** Threads that one operator may use. Default: one for each physical core. */
  readonly threads?: number;
  /**
   * A folder in which compiled models are kept, so that the next time they are loaded sooner: the eight that were used last, of those
   * that have no weights inside.
   */
  readonly cacheFolder?: string;
  /** Measure every operator: see `profileOf`. Default: false. */
  readonly profile?: boolean;
  /** Further properties of OpenVINO's CPU plugin, by their names there. */
  readonly properties?: Readonly<Record<string, string>>;
}

/** An engine over OpenVINO. Throws ENGINE_ABSENT, with what to install, where there is no OpenVINO that can be used. */
export async function openVino(options: OpenVinoOptions = {}): Promise<Engine> {
  const threads = options.threads ?? defaultThreads();
  if (!Number.isInteger(threads) || threads < 1)
    throw new ArgumentError(`An engine needs a whole number of threads from 1, but ${threads} was given.`);
  const { library, core, version, build } = await findOpenVino();
  const properties = {
    // A model runs one at a time, with all threads.
    NUM_STREAMS: "1",
    INFERENCE_NUM_THREADS: String(threads),
    // Else the plugin computes in bfloat16 where the processor has it, whatever the model says.
    INFERENCE_PRECISION_HINT: "f32",
    ...(options.profile && { PERF_COUNT: "YES" }),
    ...options.properties,
  };
  const processor = library.property(core, "CPU", "FULL_DEVICE_NAME");
  const cache =
    options.cacheFolder === undefined
      ? undefined
      : new ModelCache(options.cacheFolder, JSON.stringify([build, processor, Object.entries(properties).sort()]));
  return new OpenVinoEngine(library, core, version, threads, properties, cache);
}

const profiles = new WeakMap<LoadedModel, () => readonly OperatorProfile[]>();

/**
 * What each operator of a model did in the last run, by the names of ONNX nodes, in the order of execution. Needs an engine
 * that was made with `profile: true`.
 */
export function profileOf(model: LoadedModel): readonly OperatorProfile[] {
  const profile = profiles.get(model);
  if (!profile) throw new ArgumentError("Only models that OpenVINO has loaded in this thread have a profile of its operators.");
  return profile();
}

class OpenVinoEngine implements Engine {
  readonly name = "openvino";
  readonly device = "cpu";
  readonly version: string;
  readonly threads: number;
  readonly lowering = openVinoLowering;
  readonly #library: OpenVino;
  readonly #core: Handle;
  readonly #properties: Readonly<Record<string, string>>;
  readonly #cache: ModelCache | undefined;
  readonly #buffers = new Set<EngineBuffer>();
  readonly #models = new Set<OpenVinoModel>();
  /** A request runs once at a time, and two at a time would share the same processors. */
  #queue: Promise<unknown> = Promise.resolve();
  readonly #lifecycle = new Lifecycle("openvino");

  constructor(
    library: OpenVino,
    core: Handle,
    version: string,
    threads: number,
    properties: Readonly<Record<string, string>>,
    cache: ModelCache | undefined,
  ) {
    this.#library = library;
    this.#core = core;
    this.version = version;
    this.threads = threads;
    this.#properties = properties;
    this.#cache = cache;
  }

  async allocate(dtype: DType, shape: readonly number[]): Promise<EngineBuffer> {
    return this.#keep(dtype, shape);
  }

  async upload(array: HostArray): Promise<EngineBuffer> {
    checkData(array);
    const buffer = this.#keep(array.dtype, array.shape);
    buffer.bytes.set(bytesOf(array.data));
    return buffer;
  }

  async write(buffer: EngineBuffer, array: HostArray): Promise<void> {
    const target = this.#own(buffer);
    if (array.dtype !== target.dtype) throw new DTypeError(`A buffer of ${target.dtype} cannot take ${array.dtype}.`);
    if (!sameShape(array.shape, target.shape))
      throw new ShapeError(`A buffer of shape ${formatShape(target.shape)} cannot take ${formatShape(array.shape)}.`);
    checkData(array);
    target.bytes.set(bytesOf(array.data));
  }

  async read(buffer: EngineBuffer): Promise<HostArray> {
    const { dtype, shape, data, bytes } = this.#own(buffer);
    const copy = allocate(dtype, data.length);
    bytesOf(copy).set(bytes);
    return { dtype, shape, data: copy } as HostArray;
  }

  async release(buffer: EngineBuffer): Promise<void> {
    if (this.#buffers.delete(buffer)) (buffer as HostBuffer).release();
  }

  async load(source: ModelSource): Promise<LoadedModel> {
    this.#checkOpen();
    const model = await this.#exclusively(async () => {
      this.#checkOpen();
      const made = await OpenVinoModel.load(this.#library, this.#core, source, this.#properties, this.#cache);
      this.#models.add(made); // before `close`, which waits for this, looks for what it has to free
      return made;
    });
    const loaded: LoadedModel = {
      run: async (inputs, outputs) => {
        this.#checkOpen();
        if (!this.#models.has(model)) throw new TsumikiError("RELEASED", "The model was used after its release.");
        const feeds = new Map([...inputs].map(([name, buffer]) => [name, this.#own(buffer)]));
        const given = new Map([...outputs].map(([name, buffer]) => [name, buffer && this.#own(buffer)]));
        const make = (dtype: DType, shape: readonly number[]) => this.#keep(dtype, shape);
        return this.#exclusively(() => model.run(feeds, given, make));
      },
      release: async () => {
        if (this.#models.delete(model)) await this.#exclusively(async () => model.release());
      },
    };
    profiles.set(loaded, () => model.profile());
    return loaded;
  }

  beforeClose(task: () => Promise<void>): void {
    this.#lifecycle.beforeClose(task);
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      await this.#queue;
      for (const model of this.#models) model.release();
      this.#models.clear();
      for (const buffer of [...this.#buffers]) await this.release(buffer);
    });
  }

  #keep(dtype: DType, shape: readonly number[]): HostBuffer {
    this.#checkOpen();
    const buffer = new HostBuffer(this.#library, dtype, shape);
    this.#buffers.add(buffer);
    return buffer;
  }

  #own(buffer: EngineBuffer): HostBuffer {
    this.#checkOpen();
    if (!this.#buffers.has(buffer)) throw notOwned();
    return buffer as HostBuffer;
  }

  #checkOpen(): void {
    this.#lifecycle.checkOpen();
  }

  #exclusively<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

function checkData({ dtype, shape, data }: HostArray): void {
  checkArray(dtype, data, "The data of a buffer");
  hostArray(dtype, shape, data);
}
