/** Where a model runs. An engine takes models and gives back what can be run; its buffers are opaque and may be anywhere. */

import type { DType } from "../graph/dtype.js";
import type { Graph, Pass } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import type { OnnxFace } from "../graph/op.js";
import type { Attributes } from "../graph/tensor.js";
import type { ExternalConstant } from "../onnx/writer.js";

/** `cpu`, `cuda`, `webgpu`, ...: what the engine computes on. */
export type Device = "cpu" | "cuda" | "webgpu" | "wasm" | "coreml" | "directml";

/** Memory that an engine owns. Only the engine that made a buffer can use it. */
export interface EngineBuffer {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** How one engine on one device prefers to be told of a graph. */
export interface Lowering {
  /** Faces used instead of the operators' standard ONNX, by operator name. */
  readonly faces: Readonly<Record<string, OnnxFace<Attributes>>>;
  /** Rewritings over several nodes, run after the general passes. */
  readonly passes: readonly Pass[];
  /** Weights that are stored in fewer bits stay so in memory where a program asks for it; set where the engine would convert them for good. */
  readonly widensLate?: boolean;
}

/** Weights that lie in a file: the model refers to them by `location`, the engine reads (or maps) them from `path`. */
export interface ExternalFile {
  readonly location: string;
  readonly path: string;
}

export interface ModelSource {
  /** For engines that interpret the graph itself. Passes and lowerings have been applied. */
  readonly graph: Graph;
  /** The same as an ONNX model, written when it is asked for. */
  onnx(): Uint8Array;
  readonly externalFiles: readonly ExternalFile[];
  /** Inputs of the graph that are constants of the model, by name: data, or a place in one of the external files. */
  readonly frozen: ReadonlyMap<string, HostArray | ExternalConstant>;
  /**
   * Outputs for which the buffer of an input may be given, output → input: the operator that makes the output works element by
   * element, and all others that read the input come before it. Only for engines with `overwritesInputs`. Default: none.
   */
  readonly overwrites?: ReadonlyMap<string, string>;
}

export interface LoadedModel {
  /**
   * Runs once. `outputs` names what is wanted; a buffer given for one is filled in place where the engine can, and the
   * returned map tells where each output really is. Inputs are left as they were; an input
   * buffer may be an output only where the model's `overwrites` say so.
   */
  run(
    inputs: ReadonlyMap<string, EngineBuffer>,
    outputs: ReadonlyMap<string, EngineBuffer | undefined>,
  ): Promise<ReadonlyMap<string, EngineBuffer>>;
  release(): Promise<void>;
}

export interface Engine {
  /** `onnxruntime-node`, `onnxruntime-web`, `reference`, ... */
  readonly name: string;
  readonly device: Device;
  readonly version: string;
  readonly threads: number;
  readonly lowering: Lowering;
  /** Whether models may write outputs over inputs: see `ModelSource.overwrites`. Default: no. */
  readonly overwritesInputs?: boolean;
  /**
   * Some elements of a buffer, from `start` on, in the same memory: for engines with `overwritesInputs`. It is to be released before the
   * buffer is.
   */
  view?(buffer: EngineBuffer, start: number, shape: readonly number[]): Promise<EngineBuffer>;
  /** Zeroed memory. */
  allocate(dtype: DType, shape: readonly number[]): Promise<EngineBuffer>;
  /** A new buffer with a copy of the data. */
  upload(array: HostArray): Promise<EngineBuffer>;
  /** Overwrites a buffer with data of the same dtype and shape. */
  write(buffer: EngineBuffer, array: HostArray): Promise<void>;
  /** A copy of what is in the buffer. */
  read(buffer: EngineBuffer): Promise<HostArray>;
  release(buffer: EngineBuffer): Promise<void>;
  load(model: ModelSource): Promise<LoadedModel>;
  /** Has a task run when the engine is about to close, while it can still be used: to move out what nothing else holds. */
  beforeClose(task: () => Promise<void>): void;
  /** Waits for what is under way and frees everything; the engine cannot be used afterwards. A second call waits for the first. */
  close(): Promise<void>;
}

export const noLowering: Lowering = { faces: {}, passes: [] };
