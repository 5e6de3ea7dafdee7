/** Element types of GGUF tensors: plain floats, and blocks of small integers with a scale. */

import { TsumikiError } from "../errors.js";
import { fromBfloat16Bits, fromFloat16Bits, toBfloat16Bits, toFloat16Bits } from "../graph/dtype.js";

export interface ElementType {
  readonly name: string;
  /** In ggml's enumeration. */
  readonly code: number;
  /** Of the whole file, when its matrices are of this type. */
  readonly fileType: number;
  /** Elements of a block, and its bytes. */
  readonly blockElements: number;
  readonly blockBytes: number;
  readonly decode: (bytes: DataView, count: number) => Float32Array;
  readonly encode?: (values: Float32Array) => Uint8Array;
}

const plain = (
  names: { readonly name: string; readonly code: number; readonly fileType: number },
  bytes: number,
  read: (view: DataView, offset: number) => number,
  write: (view: DataView, offset: number, value: number) => void,
): ElementType => ({
  ...names,
  blockElements: 1,
  blockBytes: bytes,
  decode: (view, count) => Float32Array.from({ length: count }, (_, i) => read(view, i * bytes)),
  encode(values) {
    const view = new DataView(new ArrayBuffer(values.length * bytes));
    for (let i = 0; i < values.length; i++) write(view, i * bytes, values[i] as number);
    return new Uint8Array(view.buffer);
  },
});

const block = 32;

/** Blocks of 32 elements: a float16 scale d, and 8-bit integers q; the values are d·q. */
const q8: ElementType = {
  ...{ name: "Q8_0", code: 8, fileType: 7, blockElements: block, blockBytes: 2 + block },
  decode(view, count) {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const start = Math.floor(i / block) * (2 + block);
      values[i] = fromFloat16Bits(view.getUint16(start, true)) * view.getInt8(start + 2 + (i % block));
    }
    return values;
  },
  encode(values) {
    const view = new DataView(new ArrayBuffer((values.length / block) * (2 + block)));
    for (let i = 0; i < values.length / block; i++) {
      const part = values.subarray(i * block, (i + 1) * block);
      const scale = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
      view.setUint16(i * (2 + block), toFloat16Bits(scale), true);
      for (let k = 0; k < block; k++)
        view.setInt8(i * (2 + block) + 2 + k, scale === 0 ? 0 : Math.round((part[k] as number) / scale));
    }
    return new Uint8Array(view.buffer);
  },
};

/** Blocks of 32 elements: a float16 scale d, and 4-bit integers q, the low halves of 16 bytes first; the values are d·(q − 8). */
const q4: ElementType = {
  ...{ name: "Q4_0", code: 2, fileType: 2, blockElements: block, blockBytes: 2 + block / 2 },
  decode(view, count) {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const start = Math.floor(i / block) * (2 + block / 2);
      const within = i % block;
      const byte = view.getUint8(start + 2 + (within % 16));
      values[i] = fromFloat16Bits(view.getUint16(start, true)) * ((within < 16 ? byte & 15 : byte >> 4) - 8);
    }
    return values;
  },
};

const f32 = plain(
  { name: "F32", code: 0, fileType: 0 },
  4,
  (view, at) => view.getFloat32(at, true),
  (view, at, value) => view.setFloat32(at, value, true),
);
const f16 = plain(
  { name: "F16", code: 1, fileType: 1 },
  2,
  (view, at) => fromFloat16Bits(view.getUint16(at, true)),
  (view, at, value) => view.setUint16(at, toFloat16Bits(value), true),
);
const bf16 = plain(
  { name: "BF16", code: 30, fileType: 32 },
  2,
  (view, at) => fromBfloat16Bits(view.getUint16(at, true)),
  (view, at, value) => view.setUint16(at, toBfloat16Bits(value), true),
);

/** What matrices can be written in. */
export const writableTypes = { float32: f32, float16: f16, bfloat16: bf16, q8_0: q8 } as const;

const readable: readonly ElementType[] = [f32, f16, bf16, q8, q4];

export const elementType = (code: number): ElementType | undefined => readable.find((type) => type.code === code);

export const readableTypeNames = readable.map(({ name }) => name).join(", ");

export const bytesOf = ({ blockElements, blockBytes }: ElementType, elements: number): number =>
  (elements / blockElements) * blockBytes;

/** @throws TsumikiError CONFIG where a row does not divide into blocks */
export function checkRows({ name, blockElements }: ElementType, tensor: string, columns: number): void {
  if (columns % blockElements !== 0)
    throw new TsumikiError("CONFIG", `${tensor} has rows of ${columns} elements, but ${name} holds ${blockElements} at a time.`);
}
