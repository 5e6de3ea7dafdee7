/**
 * An engine over ONNX Runtime's JavaScript interface, which is the same in onnxruntime-node and onnxruntime-web. What
 * differs between the two, and between devices, is said in `SessionEngineOptions`.
 */

import type { InferenceSession, InferenceSessionFactory, Tensor, TensorConstructor } from "onnxruntime-node";
import { DTypeError, ShapeError, TsumikiError } from "../../errors.js";
import { formatShape, sameShape } from "../../graph/dim.js";
import { allocate, checkArray, type DType, isDType, type TypedArray } from "../../graph/dtype.js";
import { elementCount, type HostArray, hostArray } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import { bytesOf, checkOutputs, copyOf, notOwned } from "../buffers.js";
import type { Device, Engine, EngineBuffer, LoadedModel, Lowering, ModelSource } from "../engine.js";
import { Lifecycle } from "../lifecycle.js";
import { modelSource } from "../model-source.js";
import { engineError } from "./errors.js";
import type { GpuMemory } from "./gpu-memory.js";

/** The part of onnxruntime-common that is used here. */
export interface Runtime {
  readonly InferenceSession: InferenceSessionFactory;
  readonly Tensor: TensorConstructor;
}

/** What a session is made from. */
export interface SessionSource {
  readonly model: Uint8Array;
  readonly options: InferenceSession.SessionOptions;
}

/** Runs a session; results are named, and those for which a tensor was given may be missing when it was filled. */
export type RunSession = (
  session: InferenceSession,
  feeds: Readonly<Record<string, Tensor>>,
  fetches: Readonly<Record<string, Tensor | null>>,
) => Promise<Readonly<Record<string, Tensor>>>;

export interface SessionEngineOptions {
  readonly name: string;
  readonly device: Device;
  readonly version: string;
  readonly threads: number;
  readonly lowering: Lowering;
  /** Loaded when it is first needed. */
  runtime(): Promise<Runtime>;
  sessionSource(source: ModelSource): Promise<SessionSource>;
  /** Set when tensors that are given for outputs are filled. Otherwise `run` is called without them. */
  readonly fillOutputs?: RunSession;
  /** Where buffers lie when that is not the memory of the host. */
  readonly gpuMemory?: GpuMemory;
}

/** A handle on a tensor, which may be replaced by another of the same dtype and shape. */
class TensorBuffer implements EngineBuffer {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Absent after release. */
  tensor: Tensor | undefined;

  constructor(dtype: DType, shape: readonly number[], tensor: Tensor) {
    this.dtype = dtype;
    this.shape = shape;
    this.tensor = tensor;
  }
}

const disposeTensor = (tensor: Tensor | undefined): void => {
  if (tensor && tensor.location !== "cpu" && tensor.location !== "cpu-pinned") tensor.dispose();
};

export async function sessionEngine(options: SessionEngineOptions): Promise<Engine> {
  return new SessionEngine(options, await options.runtime());
}

/**
 * Loads a model that stays as long as the engine. ONNX Runtime gives a device up with its last session, and with it all that
 * it has compiled for it: on WebGPU, 18 programs of a matrix product and its gradients, each loaded, run once and released,
 * took 2.0 s instead of 8.8. Throws what `load` throws where the device is not there.
 */
export async function holdDevice(engine: Engine): Promise<void> {
  const x = input("x", "float32", [1]);
  await engine.load(modelSource(engine, { inputs: new Map([["x", x]]), outputs: new Map([["y", x]]) }));
}

class SessionEngine implements Engine {
  readonly name: string;
  readonly device: Device;
  readonly version: string;
  readonly threads: number;
  readonly lowering: Lowering;
  /** Kernels on the CPU read an element before they write it; on a graphics card one buffer cannot be both. */
  readonly overwritesInputs: boolean;
  readonly #options: SessionEngineOptions;
  readonly #runtime: Runtime;
  readonly #buffers = new Set<EngineBuffer>();
  readonly #sessions = new Set<InferenceSession>();
  /** ONNX Runtime's WebAssembly can do one thing at a time. */
  #queue: Promise<unknown> = Promise.resolve();
  readonly #lifecycle: Lifecycle;

  constructor(options: SessionEngineOptions, runtime: Runtime) {
    this.name = options.name;
    this.device = options.device;
    this.version = options.version;
    this.threads = options.threads;
    this.lowering = options.lowering;
    this.overwritesInputs = options.fillOutputs !== undefined;
    this.#options = options;
    this.#runtime = runtime;
    this.#lifecycle = new Lifecycle(options.name);
  }

  async allocate(dtype: DType, shape: readonly number[]): Promise<EngineBuffer> {
    this.#checkOpen();
    const { gpuMemory } = this.#options;
    const tensor = gpuMemory?.holds(dtype, shape)
      ? gpuMemory.allocate(dtype, shape)
      : this.#tensor(dtype, shape, allocate(dtype, elementCount(shape)));
    return this.#keep(dtype, shape, tensor);
  }

  async upload(array: HostArray): Promise<EngineBuffer> {
    if (this.#options.gpuMemory?.holds(array.dtype, array.shape)) {
      const buffer = await this.allocate(array.dtype, array.shape);
      await this.write(buffer, array);
      return buffer;
    }
    const { dtype, shape, data } = copyOf(array);
    return this.#keep(dtype, shape, this.#tensor(dtype, shape, data));
  }

  async view(buffer: EngineBuffer, start: number, shape: readonly number[]): Promise<EngineBuffer> {
    const { dtype, tensor } = this.#own(buffer);
    const data = (tensor.data as TypedArray).subarray(start, start + elementCount(shape));
    return this.#keep(dtype, shape, this.#tensor(dtype, shape, data));
  }

  async write(buffer: EngineBuffer, array: HostArray): Promise<void> {
    const target = this.#own(buffer);
    if (array.dtype !== target.dtype) throw new DTypeError(`A buffer of ${target.dtype} cannot take ${array.dtype}.`);
    if (!sameShape(array.shape, target.shape))
      throw new ShapeError(`A buffer of shape ${formatShape(target.shape)} cannot take ${formatShape(array.shape)}.`);
    const { tensor } = target;
    checkArray(array.dtype, array.data, "The data of a buffer");
    hostArray(array.dtype, array.shape, array.data);
    if (tensor.location === "cpu") bytesOf(tensor.data as ArrayBufferView).set(bytesOf(array.data));
    else this.#gpuMemory.write(tensor, bytesOf(array.data));
  }

  async read(buffer: EngineBuffer): Promise<HostArray> {
    const { dtype, shape, tensor } = this.#own(buffer);
    const copy = allocate(dtype, elementCount(shape));
    // float16 may be a Float16Array there, where it is a Uint16Array here.
    const bytes =
      tensor.location === "cpu"
        ? bytesOf(tensor.data as ArrayBufferView)
        : await this.#exclusively(() => this.#gpuMemory.read(tensor, copy.byteLength));
    bytesOf(copy).set(bytes);
    return { dtype, shape, data: copy } as HostArray;
  }

  async release(buffer: EngineBuffer): Promise<void> {
    if (!(buffer instanceof TensorBuffer)) return;
    this.#buffers.delete(buffer);
    disposeTensor(buffer.tensor);
    buffer.tensor = undefined;
  }

  async load(source: ModelSource): Promise<LoadedModel> {
    this.#checkOpen();
    const session = await this.#exclusively(async () => {
      this.#checkOpen();
      const { model, options } = await this.#options.sessionSource(source);
      const made = await this.#runtime.InferenceSession.create(model, options);
      this.#sessions.add(made); // before `close`, which waits for this, looks for what it has to free
      return made;
    }).catch((error: unknown) => {
      throw engineError(this.name, "refused the model", error);
    });
    const inputNames = new Set(session.inputNames);
    const outputNames = new Set(session.outputNames);
    return {
      run: async (inputs, outputs) => {
        this.#checkOpen();
        if (!this.#sessions.has(session)) throw new TsumikiError("RELEASED", "The model was used after its release.");
        for (const name of inputs.keys()) if (!inputNames.has(name)) throw unknownName("input", name, inputNames);
        for (const name of inputNames)
          if (!inputs.has(name)) throw new TsumikiError("FEED", `The input '${name}' of the model was not given.`);
        for (const name of outputs.keys()) if (!outputNames.has(name)) throw unknownName("output", name, outputNames);
        return this.#run(session, inputs, outputs, source.overwrites);
      },
      release: async () => {
        if (this.#sessions.delete(session)) await this.#exclusively(() => session.release());
      },
    };
  }

  beforeClose(task: () => Promise<void>): void {
    this.#lifecycle.beforeClose(task);
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => {
      await this.#queue;
      for (const buffer of [...this.#buffers]) await this.release(buffer);
      for (const session of this.#sessions) await session.release();
      this.#sessions.clear();
    });
  }

  async #run(
    session: InferenceSession,
    inputs: ReadonlyMap<string, EngineBuffer>,
    outputs: ReadonlyMap<string, EngineBuffer | undefined>,
    overwrites: ReadonlyMap<string, string> | undefined,
  ): Promise<ReadonlyMap<string, EngineBuffer>> {
    const feeds: Record<string, Tensor> = {};
    for (const [name, buffer] of inputs) feeds[name] = this.#own(buffer).tensor;
    const given = new Map<string, OwnBuffer>();
    checkOutputs(inputs, outputs, overwrites);
    for (const [name, buffer] of outputs) if (buffer) given.set(name, this.#own(buffer));
    if (outputs.size === 0) return new Map(); // ONNX Runtime would compute every output
    const { fillOutputs } = this.#options;
    const fetches = Object.fromEntries(
      [...outputs.keys()].map((name) => [name, (fillOutputs && given.get(name)?.tensor) ?? null]),
    );
    const results = await this.#exclusively(() => (fillOutputs ?? runSession)(session, feeds, fetches)).catch(
      (error: unknown) => {
        throw engineError(this.name, "failed while it ran", error);
      },
    );
    return new Map(
      [...outputs.keys()].map((name) => {
        const buffer = given.get(name);
        const result = results[name];
        if (!buffer) return [name, this.#keepResult(result as Tensor)];
        if (!fillOutputs) this.#replace(name, buffer, result as Tensor);
        return [name, buffer];
      }),
    );
  }

  #keepResult(tensor: Tensor): EngineBuffer {
    const dtype: string = tensor.type;
    if (!isDType(dtype)) throw new TsumikiError("ENGINE", `${this.name} gave back an output of the element type ${dtype}.`);
    return this.#keep(dtype, [...tensor.dims], tensor);
  }

  /** The handle that was given for an output gets the tensor that the runtime has made. */
  #replace(name: string, buffer: OwnBuffer, tensor: Tensor): void {
    if (tensor.type !== buffer.dtype || !sameShape(tensor.dims, buffer.shape)) {
      disposeTensor(tensor);
      throw new TsumikiError(
        "ENGINE",
        `The output '${name}' is ${tensor.type}${formatShape(tensor.dims)}, but the buffer given for it is ${buffer.dtype}${formatShape(buffer.shape)}.`,
      );
    }
    disposeTensor(buffer.tensor);
    buffer.tensor = tensor;
  }

  #tensor(dtype: DType, shape: readonly number[], data: TypedArray): Tensor {
    if (dtype === "bfloat16")
      throw new DTypeError(
        `${this.name} has no bfloat16 buffers: keep such values inside the program, cast from float32 and back to it.`,
      );
    return new this.#runtime.Tensor(dtype, data as never, shape as number[]) as Tensor;
  }

  get #gpuMemory(): GpuMemory {
    const { gpuMemory } = this.#options;
    if (!gpuMemory) throw new TsumikiError("ENGINE", `${this.name} gave back a tensor in memory that it has no way to.`);
    return gpuMemory;
  }

  #keep(dtype: DType, shape: readonly number[], tensor: Tensor): EngineBuffer {
    this.#checkOpen();
    const buffer = new TensorBuffer(dtype, [...shape], tensor);
    this.#buffers.add(buffer);
    return buffer;
  }

  #own(buffer: EngineBuffer): OwnBuffer {
    this.#checkOpen();
    if (!this.#buffers.has(buffer)) throw notOwned();
    return buffer as OwnBuffer;
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

type OwnBuffer = TensorBuffer & { tensor: Tensor };

/** onnxruntime-web would print errors too, which are thrown. */
const runQuietly = { logSeverityLevel: 4 } as const;

const runSession: RunSession = async (session, feeds, fetches) =>
  (await session.run(feeds, fetches, runQuietly)) as Readonly<Record<string, Tensor>>;

const unknownName = (what: string, name: string, known: ReadonlySet<string>): TsumikiError =>
  new TsumikiError("FEED", `The model has no ${what} called '${name}'. Its ${what}s: ${[...known].join(", ") || "none"}.`);
