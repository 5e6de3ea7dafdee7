/** The reference engine: slow, in float64, plain TypeScript. Its buffers are host arrays. */

import { readFileSlice } from "#platform/engine/reference/file-slice";
import { DTypeError, ShapeError, TsumikiError } from "../../errors.js";
import { formatShape, sameShape } from "../../graph/dim.js";
import { allocate, bytesPerElement, type DType, encode, view } from "../../graph/dtype.js";
import { elementCount, type HostArray, hostArray, toNumbers } from "../../graph/host-array.js";
import { checkOutputs, copyOf, notOwned } from "../buffers.js";
import { type Engine, type EngineBuffer, type LoadedModel, type ModelSource, noLowering } from "../engine.js";
import { Lifecycle } from "../lifecycle.js";
import { evaluate } from "./interpret.js";

export interface ReferenceEngineOptions {
  /** Keep float64 inside a run; only what is stored in buffers is rounded to its dtype. Default false. */
  readonly exact?: boolean;
}

export function referenceEngine(options: ReferenceEngineOptions = {}): Engine {
  return new ReferenceEngine(options.exact ?? false);
}

class ReferenceEngine implements Engine {
  readonly name = "reference";
  readonly device = "cpu";
  readonly version = "float64";
  readonly threads = 1;
  readonly lowering = noLowering;
  readonly overwritesInputs = true;
  readonly #exact: boolean;
  /** Buffers that have not been released. */
  readonly #buffers = new Set<EngineBuffer>();
  readonly #lifecycle = new Lifecycle("reference");

  constructor(exact: boolean) {
    this.#exact = exact;
  }

  async allocate(dtype: DType, shape: readonly number[]): Promise<EngineBuffer> {
    return this.#keep(hostArray(dtype, shape, allocate(dtype, elementCount(shape))));
  }

  async upload(array: HostArray): Promise<EngineBuffer> {
    return this.#keep(copyOf(array));
  }

  async view(buffer: EngineBuffer, start: number, shape: readonly number[]): Promise<EngineBuffer> {
    const { dtype, data } = this.#array(buffer);
    return this.#keep(hostArray(dtype, shape, data.subarray(start, start + elementCount(shape))));
  }

  async write(buffer: EngineBuffer, array: HostArray): Promise<void> {
    const target = this.#array(buffer);
    const { data } = copyOf(array);
    if (array.dtype !== target.dtype) throw new DTypeError(`A buffer of ${target.dtype} cannot take ${array.dtype}.`);
    if (!sameShape(array.shape, target.shape))
      throw new ShapeError(`A buffer of shape ${formatShape(target.shape)} cannot take ${formatShape(array.shape)}.`);
    (target.data as Float32Array).set(data as Float32Array);
  }

  async read(buffer: EngineBuffer): Promise<HostArray> {
    return copyOf(this.#array(buffer));
  }

  async release(buffer: EngineBuffer): Promise<void> {
    this.#buffers.delete(buffer);
  }

  async load({ graph, frozen, externalFiles, overwrites }: ModelSource): Promise<LoadedModel> {
    this.#checkOpen();
    const constants = new Map<string, HostArray>();
    for (const [name, value] of frozen) {
      if (!("location" in value)) {
        constants.set(name, copyOf(value));
        continue;
      }
      const file = externalFiles.find(({ location }) => location === value.location);
      const tensor = graph.inputs.get(name);
      if (!file || !tensor)
        throw new TsumikiError("ENGINE", `The weights '${name}' lie in ${value.location}, which the model does not bring along.`);
      const bytes = await readFileSlice(file.path, value.offset, value.length);
      const { dtype = tensor.dtype } = value;
      const data = view(dtype, bytes.buffer, 0, value.length / bytesPerElement(dtype));
      constants.set(name, asDType(hostArray(dtype, tensor.shape as readonly number[], data), tensor.dtype));
    }
    this.#checkOpen(); // files take a while

    let released = false;
    return {
      run: async (inputs, outputs) => {
        this.#checkOpen();
        if (released) throw new TsumikiError("RELEASED", "The model was used after its release.");
        const given = new Map(constants);
        for (const [name, buffer] of inputs) given.set(name, this.#array(buffer));
        checkOutputs(inputs, outputs, overwrites);
        const values = evaluate(graph, given, { exact: this.#exact, outputs: outputs.keys() });
        const results = new Map<string, EngineBuffer>();
        for (const [name, buffer] of outputs) {
          const dtype = graph.outputs.get(name)?.dtype as DType;
          const value = asDType(values.get(name) as HostArray, dtype);
          if (buffer) await this.write(buffer, value);
          results.set(name, buffer ?? this.#keep(value));
        }
        return results;
      },
      release: async () => {
        released = true;
        constants.clear();
      },
    };
  }

  beforeClose(task: () => Promise<void>): void {
    this.#lifecycle.beforeClose(task);
  }

  close(): Promise<void> {
    return this.#lifecycle.close(async () => this.#buffers.clear());
  }

  #checkOpen(): void {
    this.#lifecycle.checkOpen();
  }

  #keep(array: HostArray): EngineBuffer {
    this.#checkOpen();
    this.#buffers.add(array);
    return array;
  }

  #array(buffer: EngineBuffer): HostArray {
    this.#checkOpen();
    if (!this.#buffers.has(buffer)) throw notOwned();
    return buffer as HostArray;
  }
}

/** Of an exact run the results are float64 whatever they were declared as. */
const asDType = (array: HostArray, dtype: DType): HostArray =>
  array.dtype === dtype ? array : hostArray(dtype, array.shape, encode(dtype, toNumbers(array)));
