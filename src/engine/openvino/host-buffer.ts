/** Memory of JavaScript that OpenVINO reads and writes where it lies. */

import type { DType } from "../../graph/dtype.js";
import { bytesPerElement, type TypedArray, view } from "../../graph/dtype.js";
import { elementCount } from "../../graph/host-array.js";
import type { EngineBuffer } from "../engine.js";
import type { Handle, OpenVino } from "./c-api.js";

/** A cache line: vector instructions are slower on what lies across two. */
const alignment = 64;

/** A tensor over a buffer's memory: an object of its own for each, where addresses are used again. */
export interface BufferTensor {
  readonly handle: Handle;
}

interface Place {
  readonly memory: ArrayBuffer;
  readonly offset: number;
}

/** Memory that belongs to an ArrayBuffer of its own never moves; that of a small typed array may lie on V8's heap. */
function newMemory(openVino: OpenVino, length: number): Place {
  const memory = new ArrayBuffer(length + alignment);
  const address = openVino.address(memory);
  openVino.hugePages?.behind(address, memory.byteLength);
  return { memory, offset: (alignment - (address % alignment)) % alignment };
}

export class HostBuffer implements EngineBuffer {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #openVino: OpenVino;
  #tensor: BufferTensor | undefined;

  /** @param place default: zeroed memory of its own */
  constructor(
    openVino: OpenVino,
    dtype: DType,
    shape: readonly number[],
    { memory, offset }: Place = newMemory(openVino, elementCount(shape) * bytesPerElement(dtype)),
  ) {
    const count = elementCount(shape);
    this.dtype = dtype;
    this.shape = [...shape];
    this.data = view(dtype, memory, offset, count);
    this.bytes = new Uint8Array(memory, offset, count * bytesPerElement(dtype));
    this.#openVino = openVino;
  }

  /** Elements from `start` on, in the same memory. */
  view(start: number, shape: readonly number[]): HostBuffer {
    const offset = this.bytes.byteOffset + start * bytesPerElement(this.dtype);
    return new HostBuffer(this.#openVino, this.dtype, shape, { memory: this.bytes.buffer, offset });
  }

  get tensor(): BufferTensor {
    // Where there are no elements, the memory behind them is as good as any.
    this.#tensor ??= {
      handle: this.#openVino.tensorOver(this.dtype, this.shape, new Uint8Array(this.bytes.buffer, this.bytes.byteOffset)),
    };
    return this.#tensor;
  }

  release(): void {
    if (this.#tensor) this.#openVino.freeTensor(this.#tensor.handle);
    this.#tensor = undefined;
  }
}
