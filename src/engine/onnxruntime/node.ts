/** ONNX Runtime in Node: the engine that arrives whole with `npm install`. */

import * as ort from "onnxruntime-node";
import { TsumikiError } from "../../errors.js";
import { allocate, type DType } from "../../graph/dtype.js";
import { elementCount, type HostArray } from "../../graph/host-array.js";
import { type Engine, type EngineBuffer, type LoadedModel, type ModelSource, noLowering } from "../engine.js";

class NodeBuffer implements EngineBuffer {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly tensor: ort.Tensor;
  constructor(dtype: DType, shape: readonly number[], tensor: ort.Tensor) {
    this.dtype = dtype;
    this.shape = shape;
    this.tensor = tensor;
  }
}

const tensorOf = (dtype: DType, shape: readonly number[], data: HostArray["data"]): ort.Tensor =>
  new ort.Tensor(dtype as ort.Tensor.Type, data as never, shape as number[]);

export function onnxRuntimeNode({ threads = 2 }: { readonly threads?: number } = {}): Engine {
  return {
    name: "onnxruntime-node",
    device: "cpu",
    version: "1.30.0",
    threads,
    lowering: noLowering,
    async allocate(dtype, shape) {
      return new NodeBuffer(dtype, shape, tensorOf(dtype, shape, allocate(dtype, elementCount(shape))));
    },
    async upload({ dtype, shape, data }) {
      return new NodeBuffer(dtype, shape, tensorOf(dtype, shape, data.slice()));
    },
    async write(buffer, { data }) {
      ((buffer as NodeBuffer).tensor.data as Float32Array).set(data as Float32Array);
    },
    async read(buffer) {
      const { dtype, shape, tensor } = buffer as NodeBuffer;
      return { dtype, shape, data: (tensor.data as Float32Array).slice() } as HostArray;
    },
    async release() {},
    async load(source: ModelSource): Promise<LoadedModel> {
      const session = await ort.InferenceSession.create(source.onnx(), {
        intraOpNumThreads: threads,
        graphOptimizationLevel: "all",
        enableMemPattern: false,
        externalData: source.externalFiles.map(({ location, path }) => ({ path: location, data: path })),
      }).catch((error: unknown) => {
        throw new TsumikiError("ENGINE", `onnxruntime-node refused the model: ${(error as Error).message}`, { cause: error });
      });
      return {
        async run(inputs, outputs) {
          const feeds = Object.fromEntries([...inputs].map(([name, buffer]) => [name, (buffer as NodeBuffer).tensor]));
          const fetches = Object.fromEntries(
            [...outputs].map(([name, buffer]) => [name, (buffer as NodeBuffer | undefined)?.tensor ?? null]),
          );
          const results = await session.run(feeds, fetches);
          return new Map(
            [...outputs].map(([name, buffer]) => {
              const tensor = results[name] as ort.Tensor;
              return [name, buffer ?? new NodeBuffer(tensor.type as DType, tensor.dims, tensor)];
            }),
          );
        },
        release: () => session.release(),
      };
    },
    async close() {},
  };
}
