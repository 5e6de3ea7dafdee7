/**
 * "K-quants": blocks of 256 elements in parts of 16 or 32, of which each has a scale, and sometimes an offset, of its own in a few
 * bits; these are multiples of float16 numbers of the whole block, d and m
 * (https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c).
 */

import { type BlockType, byteAt, float16At, signedByteAt, unevenLevels } from "./blocks.js";

const size = 256;

/** Two bits for each element: four elements that are 32 apart share a byte, in both halves of the block. */
const twoBitsAt = (bytes: Uint8Array, start: number, i: number): number =>
  (byteAt(bytes, start + ((i >> 7) << 5) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3;

/** Scale · q − offset, parts of 16: scale and offset have 4 bits, q has 2. */
export const q2_k: BlockType = {
  blockElements: size,
  blockBytes: 16 + 64 + 4,
  decodeBlock(bytes, start, values, target) {
    const [d, m] = [float16At(bytes, start + 80), float16At(bytes, start + 82)];
    for (let i = 0; i < size; i++) {
      const part = byteAt(bytes, start + (i >> 4));
      values[target + i] = d * (part & 15) * twoBitsAt(bytes, start + 16, i) - m * (part >> 4);
    }
  },
};

/** Scale · q, parts of 16: the scale has 6 bits, q has 3, of which the highest stand apart, inverted. */
export const q3_k: BlockType = {
  blockElements: size,
  blockBytes: 32 + 64 + 12 + 2,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start + 108);
    for (let i = 0; i < size; i++) {
      const high = (byteAt(bytes, start + (i & 31)) >> (i >> 5)) & 1;
      const q = twoBitsAt(bytes, start + 32, i) - (high ? 0 : 4);
      values[target + i] = d * sixBitScale(bytes, start + 96, i >> 4) * q;
    }
  },
};

/** The low 4 bits of 16 scales stand in 8 bytes, the high 2 in 4 more. */
function sixBitScale(bytes: Uint8Array, start: number, part: number): number {
  const low = part < 8 ? byteAt(bytes, start + part) & 15 : byteAt(bytes, start + part - 8) >> 4;
  const high = (byteAt(bytes, start + 8 + (part & 3)) >> (2 * (part >> 2))) & 3;
  return (low | (high << 4)) - 32;
}

/** The 8 scales of Q4_K and Q5_K, and behind them the 8 offsets, of 6 bits each in 12 bytes. */
function scaleOf(bytes: Uint8Array, start: number, part: number): number {
  if (part < 4) return byteAt(bytes, start + part) & 63;
  return (byteAt(bytes, start + part + 4) & 15) | ((byteAt(bytes, start + part - 4) >> 6) << 4);
}

function offsetOf(bytes: Uint8Array, start: number, part: number): number {
  if (part < 4) return byteAt(bytes, start + part + 4) & 63;
  return (byteAt(bytes, start + part + 4) >> 4) | ((byteAt(bytes, start + part) >> 6) << 4);
}

/** Scale · q − offset, parts of 32: q has 4 bits; two parts share 32 bytes. */
export const q4_k: BlockType = {
  blockElements: size,
  blockBytes: 4 + 12 + 128,
  decodeBlock(bytes, start, values, target) {
    const [d, m] = [float16At(bytes, start), float16At(bytes, start + 2)];
    for (let part = 0; part < 8; part++) {
      const scale = d * scaleOf(bytes, start + 4, part);
      const offset = m * offsetOf(bytes, start + 4, part);
      const low = start + 16 + ((part >> 1) << 5);
      for (let i = 0; i < 32; i++)
        values[target + 32 * part + i] = scale * ((byteAt(bytes, low + i) >> (4 * (part & 1))) & 15) - offset;
    }
  },
};

/** Scale · q − offset, parts of 32: q has 5 bits, of which the highest stand apart. */
export const q5_k: BlockType = {
  blockElements: size,
  blockBytes: 4 + 12 + 32 + 128,
  decodeBlock(bytes, start, values, target) {
    const [d, m] = [float16At(bytes, start), float16At(bytes, start + 2)];
    for (let part = 0; part < 8; part++) {
      const scale = d * scaleOf(bytes, start + 4, part);
      const offset = m * offsetOf(bytes, start + 4, part);
      const low = start + 48 + ((part >> 1) << 5);
      for (let i = 0; i < 32; i++) {
        const high = (byteAt(bytes, start + 16 + i) >> part) & 1;
        const q = ((byteAt(bytes, low + i) >> (4 * (part & 1))) & 15) | (high << 4);
        values[target + 32 * part + i] = scale * q - offset;
      }
    }
  },
};

/** Scale · (q − 32), parts of 16: the scale has 8 bits, q has 6: 4 low ones, which 64 apart share a byte, and 2 high ones. */
export const q6_k: BlockType = {
  blockElements: size,
  blockBytes: 128 + 64 + 16 + 2,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start + 208);
    for (let i = 0; i < size; i++) {
      const low = (byteAt(bytes, start + ((i >> 7) << 6) + (i & 63)) >> (4 * ((i >> 6) & 1))) & 15;
      const q = (low | (twoBitsAt(bytes, start + 128, i) << 4)) - 32;
      values[target + i] = d * signedByteAt(bytes, start + 192 + (i >> 4)) * q;
    }
  },
};

/** Scale · level(q), parts of 32: the scale has 6 bits. */
export const iq4_xs: BlockType = {
  blockElements: size,
  blockBytes: 2 + 2 + 4 + 128,
  decodeBlock(bytes, start, values, target) {
    const d = float16At(bytes, start);
    const highBits = byteAt(bytes, start + 2) | (byteAt(bytes, start + 3) << 8);
    for (let part = 0; part < 8; part++) {
      const low = (byteAt(bytes, start + 4 + (part >> 1)) >> (4 * (part & 1))) & 15;
      const scale = d * ((low | (((highBits >> (2 * part)) & 3) << 4)) - 32);
      for (let i = 0; i < 32; i++) {
        const byte = byteAt(bytes, start + 8 + 16 * part + (i & 15));
        values[target + 32 * part + i] = scale * (unevenLevels[i < 16 ? byte & 15 : byte >> 4] as number);
      }
    }
  },
};
