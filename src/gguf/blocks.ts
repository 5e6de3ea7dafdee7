/**
 * Blocks of 32 elements: a float16 scale d, sometimes a float16 offset m, and an integer q for each element
 * (https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c).
 */

import { fromFloat16Bits, toFloat16Bits } from "../graph/dtype.js";

/** Reads the block that begins at `start` into `values` from `target` on. */
export type DecodeBlock = (bytes: Uint8Array, start: number, values: Float32Array, target: number) => void;

/** Writes the elements of `values` from `source` on as a block that begins at `start`. */
export type EncodeBlock = (values: Float32Array, source: number, bytes: Uint8Array, start: number) => void;

export interface BlockType {
  readonly blockElements: number;
  readonly blockBytes: number;
  readonly decodeBlock: DecodeBlock;
  readonly encodeBlock?: EncodeBlock;
}

const size = 32;
const half = size / 2;
const { fround } = Math;

/** Bytes as unsigned numbers; the index is known to be inside. */
export const byteAt = (bytes: Uint8Array, at: number): number => bytes[at] as number;
export const signedByteAt = (bytes: Uint8Array, at: number): number => (byteAt(bytes, at) << 24) >> 24;

const float16Values = Float32Array.from({ length: 2 ** 16 }, (_, bits) => fromFloat16Bits(bits));

/** A little-endian float16. */
export const float16At = (bytes: Uint8Array, at: number): number =>
  float16Values[byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8)] as number;

function putFloat16(bytes: Uint8Array, at: number, value: number): void {
  const bits = toFloat16Bits(value);
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
}

/** The first half of the elements has the low 4 bits of 16 bytes, the second half the high ones. */
const nibbleAt = (bytes: Uint8Array, start: number, i: number): number =>
  i < half ? byteAt(bytes, start + i) & 15 : byteAt(bytes, start + i - half) >> 4;

/** d·(q − 8) */
export const q4_0: BlockType = {
  blockElements: size,
  blockBytes: 2 + half,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start);
    for (let i = 0; i < size; i++) values[target + i] = d * (nibbleAt(bytes, start + 2, i) - 8);
  },
  encodeBlock(values, source, bytes, start) {
    let extreme = 0;
    for (let i = 0; i < size; i++) {
      const value = values[source + i] as number;
      if (Math.abs(value) > Math.abs(extreme)) extreme = value;
    }
    // The extreme becomes −8, the only number that has no counterpart.
    const d = extreme / -8;
    const inverse = d === 0 ? 0 : fround(1 / d);
    putFloat16(bytes, start, d);
    const quantized = (i: number) => Math.min(15, Math.trunc(fround(fround((values[source + i] as number) * inverse) + 8.5)));
    for (let i = 0; i < half; i++) bytes[start + 2 + i] = quantized(i) | (quantized(i + half) << 4);
  },
};

/** d·q + m */
export const q4_1: BlockType = {
  blockElements: size,
  blockBytes: 4 + half,
  decodeBlock(bytes, start, values, target) {
    const [d, m] = [float16At(bytes, start), float16At(bytes, start + 2)];
    for (let i = 0; i < size; i++) values[target + i] = fround(d * nibbleAt(bytes, start + 4, i)) + m;
  },
};

/** The fifth bits of the elements stand in 4 bytes before the others. */
const fifthBit = (bytes: Uint8Array, start: number, i: number): number => ((byteAt(bytes, start + (i >> 3)) >> (i & 7)) & 1) << 4;

/** d·(q − 16) */
export const q5_0: BlockType = {
  blockElements: size,
  blockBytes: 6 + half,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start);
    for (let i = 0; i < size; i++)
      values[target + i] = d * ((nibbleAt(bytes, start + 6, i) | fifthBit(bytes, start + 2, i)) - 16);
  },
};

/** d·q + m */
export const q5_1: BlockType = {
  blockElements: size,
  blockBytes: 8 + half,
  decodeBlock(bytes, start, values, target) {
    const [d, m] = [float16At(bytes, start), float16At(bytes, start + 2)];
    for (let i = 0; i < size; i++) values[target + i] = d * (nibbleAt(bytes, start + 8, i) | fifthBit(bytes, start + 4, i)) + m;
  },
};

/** d·q */
export const q8_0: BlockType = {
  blockElements: size,
  blockBytes: 2 + size,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start);
    for (let i = 0; i < size; i++) values[target + i] = d * signedByteAt(bytes, start + 2 + i);
  },
  encodeBlock(values, source, bytes, start) {
    let largest = 0;
    for (let i = 0; i < size; i++) largest = Math.max(largest, Math.abs(values[source + i] as number));
    const d = fround(largest / 127);
    const inverse = d === 0 ? 0 : fround(1 / d);
    putFloat16(bytes, start, d);
    for (let i = 0; i < size; i++) {
      const scaled = fround((values[source + i] as number) * inverse);
      bytes[start + 2 + i] = Math.sign(scaled) * Math.round(Math.abs(scaled)); // halves away from zero
    }
  },
};

/** Levels that lie closer where weights do: d·level(q). */
export const unevenLevels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

export const iq4_nl: BlockType = {
  blockElements: size,
  blockBytes: 2 + half,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start);
    for (let i = 0; i < size; i++) values[target + i] = d * (unevenLevels[nibbleAt(bytes, start + 2, i)] as number);
  },
};
