/** One model compiled by OpenVINO, with the requests that run it. */

import { fromBinary } from "@bufbuild/protobuf";
import { TsumikiError } from "../../errors.js";
import { formatShape } from "../../graph/dim.js";
import type { DType } from "../../graph/dtype.js";
import { ModelProtoSchema } from "../../onnx/schema/onnx_pb.js";
import { checkOutputs } from "../buffers.js";
import type { ModelSource } from "../engine.js";
import { type Bindings, BoundRequest } from "./bound-request.js";
import type { Handle, OpenVino, OperatorProfile, Port } from "./c-api.js";
import { explained } from "./errors.js";
import { readWithFiles } from "./external-files.node.js";
import type { BufferTensor, HostBuffer } from "./host-buffer.js";
import type { ModelCache } from "./model-cache.node.js";

/** Tensors that change places at once from which a second request pays. */
const MANY = 8;

type MakeBuffer = (dtype: DType, shape: readonly number[]) => HostBuffer;

export class OpenVinoModel {
  readonly #library: OpenVino;
  readonly #compiled: Handle;
  /** A second one where tensors change places from run to run. */
  readonly #requests: BoundRequest[];
  #lastRequest: BoundRequest;
  /** Those that nothing depends on have no port. */
  readonly #inputs: ReadonlyMap<string, Port | undefined>;
  readonly #outputs: ReadonlyMap<string, Port>;
  /** Output → the ONNX node that makes it. */
  readonly #producers: ReadonlyMap<string, string>;

  private constructor(
    library: OpenVino,
    compiled: Handle,
    inputs: ReadonlyMap<string, Port | undefined>,
    outputs: ReadonlyMap<string, Port>,
    producers: ReadonlyMap<string, string>,
  ) {
    this.#library = library;
    this.#compiled = compiled;
    this.#lastRequest = new BoundRequest(library, compiled);
    this.#requests = [this.#lastRequest];
    this.#inputs = inputs;
    this.#outputs = outputs;
    this.#producers = producers;
  }

  static async load(
    library: OpenVino,
    core: Handle,
    source: ModelSource,
    properties: Readonly<Record<string, string>>,
    cache?: ModelCache,
  ): Promise<OpenVinoModel> {
    const onnx = source.onnx();
    const { inputNames, outputNames, producers } = describe(onnx);
    const refused = (error: unknown): never => {
      throw explained("refused the model", error, producers);
    };
    const read = (model: Uint8Array) => library.readModel(core, model).catch(refused);
    const model =
      source.externalFiles.length === 0
        ? await read(onnx)
        : await readWithFiles(onnx, source.externalFiles, {
            fromMemory: read,
            fromFile: (path) => library.readModelFile(core, path).catch(refused),
          });
    const compile = (cacheFolder?: string) =>
      library.compile(core, model, "CPU", { ...properties, ...(cacheFolder !== undefined && { CACHE_DIR: cacheFolder }) });
    // Weights are not kept a second time; those in files may change without the model.
    const hasWeights = source.frozen.size > 0 || source.externalFiles.length > 0;
    const compiled = await (cache && !hasWeights ? cache.compile(onnx, compile) : compile())
      .catch(refused)
      .finally(() => library.freeModel(model));
    const ports: Port[] = [];
    try {
      const inputs = new Map(inputNames.map((name) => [name, library.input(compiled, name)]));
      ports.push(...[...inputs.values()].filter((port) => port !== undefined));
      checkCount("inputs", ports.length, library.countInputs(compiled));
      const outputs = library.outputs(compiled);
      ports.push(...outputs);
      checkCount("outputs", outputNames.length, outputs.length);
      const named = new Map(outputs.map((port, i) => [outputNames[i] as string, port]));
      return new OpenVinoModel(library, compiled, inputs, named, producers);
    } catch (error) {
      for (const port of ports) library.freePort(port);
      library.freeCompiled(compiled);
      throw error;
    }
  }

  /** Only one run at a time. Results for which no buffer was given go into buffers that `make` makes. */
  async run(
    inputs: ReadonlyMap<string, HostBuffer>,
    outputs: ReadonlyMap<string, HostBuffer | undefined>,
    make: MakeBuffer,
  ): Promise<ReadonlyMap<string, HostBuffer>> {
    this.#checkNames(inputs, outputs);
    const bindings: [Port, BufferTensor | undefined][] = [];
    for (const [name, port] of this.#inputs) {
      const buffer = inputs.get(name) as HostBuffer;
      if (!port) continue;
      checkFit("input", name, port, buffer);
      bindings.push([port, buffer.tensor]);
    }
    const results = new Map<string, HostBuffer>();
    for (const [name, port] of this.#outputs) {
      const given = outputs.get(name) ?? (outputs.has(name) && isStatic(port) ? make(port.dtype, port.shape) : undefined);
      if (given) {
        checkFit("output", name, port, given);
        results.set(name, given);
      }
      // A buffer that was given in an earlier run is not written to again.
      bindings.push([port, given?.tensor]);
    }
    const request = this.#requestFor(bindings);
    // A new one has the memory of its intermediate values, and has written nothing to it.
    if (request.isNew) this.#library.hugePages?.behindEverything();
    request.bind(bindings);
    const memory = [...inputs.values(), ...results.values()];
    await this.#library.infer(request.handle, memory).catch((error: unknown) => {
      throw explained("failed while it ran", error, this.#producers);
    });
    for (const name of outputs.keys()) if (!results.has(name)) results.set(name, this.#copyOf(request, name, make));
    return new Map([...outputs.keys()].map((name) => [name, results.get(name) as HostBuffer]));
  }

  profile(): readonly OperatorProfile[] {
    return this.#library
      .profile(this.#lastRequest.handle)
      .map((profile) => ({ ...profile, name: this.#producers.get(profile.name) ?? profile.name }));
  }

  release(): void {
    for (const port of [...this.#inputs.values(), ...this.#outputs.values()]) if (port) this.#library.freePort(port);
    for (const request of this.#requests) request.release();
    this.#library.freeCompiled(this.#compiled);
  }

  #checkNames(inputs: ReadonlyMap<string, HostBuffer>, outputs: ReadonlyMap<string, HostBuffer | undefined>): void {
    for (const name of inputs.keys()) if (!this.#inputs.has(name)) throw unknownName("input", name, this.#inputs);
    for (const name of this.#inputs.keys())
      if (!inputs.has(name)) throw new TsumikiError("FEED", `The input '${name}' of the model was not given.`);
    for (const name of outputs.keys()) if (!this.#outputs.has(name)) throw unknownName("output", name, this.#outputs);
    checkOutputs(inputs, outputs);
  }

  /**
   * The request that has most of the tensors where they are to be. State goes from one buffer to another and back, so every other
   * run has the same: to tell OpenVINO where some 90 tensors lie takes 0.5 of 20 ms in a step of 800,000 parameters.
   */
  #requestFor(bindings: Bindings): BoundRequest {
    const differences = this.#requests.map((request) => request.differences(bindings));
    const fewest = Math.min(...differences);
    let request = this.#requests[differences.indexOf(fewest)] as BoundRequest;
    if (fewest > MANY && this.#requests.length < 2 && !request.isNew) {
      request = new BoundRequest(this.#library, this.#compiled);
      this.#requests.push(request);
    }
    this.#lastRequest = request;
    return request;
  }

  /** What the last run has put into OpenVINO's own memory. */
  #copyOf(request: BoundRequest, name: string, make: MakeBuffer): HostBuffer {
    const { dtype, handle } = this.#outputs.get(name) as Port;
    const tensor = this.#library.tensorAt(request.handle, handle);
    try {
      const buffer = make(dtype, this.#library.tensorShape(tensor));
      this.#library.copyTensor(tensor, buffer.bytes);
      return buffer;
    } finally {
      this.#library.freeTensor(tensor);
    }
  }
}

/** Names in the order of the model. */
function describe(onnx: Uint8Array) {
  try {
    const { graph } = fromBinary(ModelProtoSchema, onnx);
    const initialized = new Set(graph?.initializer.map(({ name }) => name));
    return {
      inputNames: (graph?.input ?? []).map(({ name }) => name).filter((name) => !initialized.has(name)),
      outputNames: (graph?.output ?? []).map(({ name }) => name),
      producers: new Map(graph?.node.flatMap(({ name, output }) => output.map((value) => [value, name] as const))),
    };
  } catch (error) {
    throw new TsumikiError("ENGINE", `openvino refused the model: it is no ONNX model (${(error as Error).message}).`, {
      cause: error,
    });
  }
}

const isStatic = ({ shape }: Port): boolean => shape.every((size) => size >= 0);

function checkCount(what: string, expected: number, found: number): void {
  if (found !== expected)
    throw new TsumikiError("ENGINE", `OpenVINO made ${found} ${what} of the model where ${expected} were expected.`);
}

function checkFit(what: string, name: string, { dtype, shape }: Port, buffer: HostBuffer): void {
  const fits = buffer.shape.length === shape.length && shape.every((size, axis) => size < 0 || size === buffer.shape[axis]);
  if (buffer.dtype === dtype && fits) return;
  const wanted = `${dtype}[${shape.map((size) => (size < 0 ? "any" : size)).join(", ")}]`;
  throw new TsumikiError(
    "FEED",
    `The ${what} '${name}' of the model is ${wanted}, but the buffer given for it is ${buffer.dtype}${formatShape(buffer.shape)}.`,
  );
}

const unknownName = (what: string, name: string, known: ReadonlyMap<string, unknown>): TsumikiError =>
  new TsumikiError("FEED", `The model has no ${what} called '${name}'. Its ${what}s: ${[...known.keys()].join(", ") || "none"}.`);
