/** Element types of GGUF tensors: plain floats, and blocks of small integers with scales. */

import { convertFloats } from "../checkpoint/variable-match.js";
import { TsumikiError } from "../errors.js";
import { bytesPerElement } from "../graph/dtype.js";
import { type BlockType, iq4_nl, q4_0, q4_1, q5_0, q5_1, q8_0 } from "./blocks.js";
import { iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k } from "./super-blocks.js";

export interface ElementType {
  readonly name: string;
  /** In ggml's enumeration. */
  readonly code: number;
  /** Elements of a block, and its bytes. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** `count` elements, a whole number of blocks. */
  readonly decode: (bytes: Uint8Array<ArrayBuffer>, count: number) => Float32Array;
}

export interface WritableType extends ElementType {
  /** Of the whole file, when its matrices are of this type. */
  readonly fileType: number;
  readonly encode: (values: Float32Array) => Uint8Array;
}

/** `fileType` is that of llama.cpp's `llama_ftype`. */
function plain(name: string, code: number, fileType: number, dtype: "float32" | "float16" | "bfloat16"): WritableType {
  const View = dtype === "float32" ? Float32Array : Uint16Array;
  const blockBytes = bytesPerElement(dtype);
  return {
    ...{ name, code, fileType, blockElements: 1, blockBytes },
    decode(bytes, count) {
      const data = new View(bytes.slice(0, count * blockBytes).buffer);
      return convertFloats({ dtype, shape: [count], data } as Parameters<typeof convertFloats>[0], "float32")
        .data as Float32Array;
    },
    encode(values) {
      const { data } = convertFloats({ dtype: "float32", shape: [values.length], data: values }, dtype);
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    },
  };
}

function blocks(name: string, code: number, { blockElements, blockBytes, decodeBlock }: BlockType): ElementType {
  return {
    ...{ name, code, blockElements, blockBytes },
    decode(bytes, count) {
      const values = new Float32Array(count);
      for (let block = 0; block < count / blockElements; block++)
        decodeBlock(bytes, block * blockBytes, values, block * blockElements);
      return values;
    },
  };
}

function writableBlocks(name: string, code: number, fileType: number, type: Required<BlockType>): WritableType {
  const { blockElements, blockBytes, encodeBlock } = type;
  return {
    ...blocks(name, code, type),
    fileType,
    encode(values) {
      const bytes = new Uint8Array((values.length / blockElements) * blockBytes);
      for (let block = 0; block < values.length / blockElements; block++)
        encodeBlock(values, block * blockElements, bytes, block * blockBytes);
      return bytes;
    },
  };
}

/** What matrices can be written in. */
export const writableTypes = {
  float32: plain("F32", 0, 0, "float32"),
  float16: plain("F16", 1, 1, "float16"),
  bfloat16: plain("BF16", 30, 32, "bfloat16"),
  q8_0: writableBlocks("Q8_0", 8, 7, q8_0 as Required<BlockType>),
  q4_0: writableBlocks("Q4_0", 2, 2, q4_0 as Required<BlockType>),
} as const satisfies Readonly<Record<string, WritableType>>;

const readable: readonly ElementType[] = [
  ...Object.values(writableTypes),
  blocks("Q4_1", 3, q4_1),
  blocks("Q5_0", 6, q5_0),
  blocks("Q5_1", 7, q5_1),
  blocks("Q2_K", 10, q2_k),
  blocks("Q3_K", 11, q3_k),
  blocks("Q4_K", 12, q4_k),
  blocks("Q5_K", 13, q5_k),
  blocks("Q6_K", 14, q6_k),
  blocks("IQ4_NL", 20, iq4_nl),
  blocks("IQ4_XS", 23, iq4_xs),
];

export const elementType = (code: number): ElementType | undefined => readable.find((type) => type.code === code);

export const readableTypeNames = readable.map(({ name }) => name).join(", ");

export const bytesOf = ({ blockElements, blockBytes }: ElementType, elements: number): number =>
  (elements / blockElements) * blockBytes;

/** @throws TsumikiError CONFIG where a row does not divide into blocks */
export function checkRows({ name, blockElements }: ElementType, tensor: string, columns: number): void {
  if (columns % blockElements !== 0)
    throw new TsumikiError("CONFIG", `${tensor} has rows of ${columns} elements, but ${name} holds ${blockElements} at a time.`);
}
