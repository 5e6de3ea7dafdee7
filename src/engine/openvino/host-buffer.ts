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

export class HostBuffer implements EngineBuffer {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #openVino: OpenVino;
  #tensor: BufferTensor | undefined;

  /** Zeroed. */
  constructor(openVino: OpenVino, dtype: DType, shape: readonly number[]) {
    const count = elementCount(shape);
    const length = count * bytesPerElement(dtype);
    // Memory that belongs to an ArrayBuffer of its own never moves; that of a small typed array may lie on V8's heap.
    const memory = new ArrayBuffer(length + alignment);
    const address = openVino.address(memory);
    const offset = (alignment - (address % alignment)) % alignment;
    openVino.hugePages?.behind(address, memory.byteLength);
    this.dtype = dtype;
    this.shape = [...shape];
    this.data = view(dtype, memory, offset, count);
    this.bytes = new Uint8Array(memory, offset, length);
    this.#openVino = openVino;
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
