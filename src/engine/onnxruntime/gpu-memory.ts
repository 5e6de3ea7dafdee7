/**
 * Memory of a graphics card in a page, as buffers of our own. onnxruntime-web 1.30 copies tensors of the host to the card again
 * in each run, and its `getData` calls a tensor that it has downloaded one of the host, whose memory on the card then is never
 * freed. Buffers that are made here stay on the card until they are released: written to and read without the runtime.
 */

import type { TensorConstructor, Tensor as TensorInterface } from "onnxruntime-node";
import { TsumikiError } from "../../errors.js";
import { bytesPerElement, type DType } from "../../graph/dtype.js";
import { elementCount } from "../../graph/host-array.js";
import { onGpu } from "./gpu-outputs.js";

/** The parts of WebGPU that are used here (https://www.w3.org/TR/webgpu/). */
interface GpuBuffer {
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  destroy(): void;
}

export interface GpuDevice {
  createBuffer(description: { readonly size: number; readonly usage: number }): GpuBuffer;
  createCommandEncoder(): {
    copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, size: number): void;
    finish(): object;
  };
  readonly queue: {
    writeBuffer(buffer: GpuBuffer, offset: number, data: Uint8Array<ArrayBuffer>): void;
    submit(commands: readonly object[]): void;
  };
}

const MAP_READ = 1;
const COPY_SOURCE = 4;
const COPY_DESTINATION = 8;
const STORAGE = 128;

/** The runtime reads and writes buffers in vectors of four 32-bit words. */
const vector = 16;

export class GpuMemory {
  readonly #device: () => GpuDevice | undefined;
  readonly #Tensor: TensorConstructor;

  /** @param device known once the runtime has made a session */
  constructor(Tensor: TensorConstructor, device: () => GpuDevice | undefined) {
    this.#Tensor = Tensor;
    this.#device = device;
  }

  /** Whether a value can lie on the card. */
  holds(dtype: DType, shape: readonly number[]): boolean {
    return onGpu.includes(dtype) && elementCount(shape) > 0;
  }

  /** Zeros in memory of the card. */
  allocate(dtype: DType, shape: readonly number[]): TensorInterface {
    const size = roundUp(elementCount(shape) * bytesPerElement(dtype), vector);
    const buffer = this.device.createBuffer({ size, usage: STORAGE | COPY_SOURCE | COPY_DESTINATION });
    const fromGpuBuffer = this.#Tensor.fromGpuBuffer as unknown as (
      buffer: GpuBuffer,
      options: { readonly dataType: DType; readonly dims: readonly number[]; dispose(): void },
    ) => TensorInterface;
    return fromGpuBuffer(buffer, { dataType: dtype, dims: shape, dispose: () => buffer.destroy() });
  }

  /** Overwrites what the tensor holds before anything that is asked of the card later. */
  write(tensor: TensorInterface, bytes: Uint8Array): void {
    // In whole words; what follows the tensor's elements in its buffer is nobody's.
    const words = new Uint8Array(roundUp(bytes.length, 4));
    words.set(bytes);
    this.device.queue.writeBuffer(bufferOf(tensor), 0, words);
  }

  /** A copy; the tensor stays where it is. */
  async read(tensor: TensorInterface, byteLength: number): Promise<Uint8Array> {
    const size = roundUp(byteLength, 4);
    const staging = this.device.createBuffer({ size, usage: MAP_READ | COPY_DESTINATION });
    try {
      const commands = this.device.createCommandEncoder();
      commands.copyBufferToBuffer(bufferOf(tensor), 0, staging, 0, size);
      this.device.queue.submit([commands.finish()]);
      await staging.mapAsync(MAP_READ);
      return new Uint8Array(staging.getMappedRange().slice(0, byteLength));
    } finally {
      staging.destroy();
    }
  }

  private get device(): GpuDevice {
    const device = this.#device();
    if (!device) throw new TsumikiError("ENGINE", "onnxruntime-web has no WebGPU device yet.");
    return device;
  }
}

const bufferOf = (tensor: TensorInterface): GpuBuffer => tensor.gpuBuffer as unknown as GpuBuffer;

const roundUp = (size: number, unit: number): number => Math.ceil(size / unit) * unit;
