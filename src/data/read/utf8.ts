/** UTF-8 that is checked while it is read. */

import { TsumikiError } from "../../errors.js";
import type { ByteSource } from "./raw-row.js";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of `bytes`, or what is wrong with them. */
export function decodeText(bytes: Uint8Array): { readonly text: string } | { readonly problem: string } {
  try {
    return { text: decoder.decode(bytes) };
  } catch {
    const offset = validUtf8Length(bytes);
    const byte = (bytes[offset] as number).toString(16).toUpperCase().padStart(2, "0");
    return { problem: `is not UTF-8: byte ${offset} of it (0x${byte}) does not fit; iconv converts other encodings` };
  }
}

/** How many bytes at the beginning are whole characters of UTF-8 (RFC 3629, section 4). */
export function validUtf8Length(bytes: Uint8Array): number {
  let i = 0;
  while (i < bytes.length) {
    const first = bytes[i] as number;
    if (first < 0x80) {
      i++;
      continue;
    }
    const length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
    if (length === 0 || i + length > bytes.length) return i;
    const second = bytes[i + 1] as number;
    // No overlong forms, no surrogates, nothing above U+10FFFF.
    const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < lowest || second > highest) return i;
    for (let k = 2; k < length; k++) if (((bytes[i + k] as number) & 0xc0) !== 0x80) return i;
    i += length;
  }
  return i;
}

/**
 * The chunks of a text from an offset on, without a byte order mark, each with the offset at which it begins.
 *
 * @throws TsumikiError DATA where the file begins with the mark of UTF-16 or UTF-32
 */
export async function* textChunks(source: ByteSource, from: number): AsyncGenerator<{ chunk: Uint8Array; offset: number }> {
  let offset = from;
  let beginning: Uint8Array | undefined = from === 0 ? new Uint8Array() : undefined;
  for await (let chunk of source.bytes(from)) {
    if (beginning) {
      chunk = concatBytes([beginning, chunk]);
      if (chunk.length < 4) {
        beginning = chunk;
        continue;
      }
      beginning = undefined;
      offset = markLength(chunk, source.name);
      chunk = chunk.subarray(offset);
    }
    if (chunk.length > 0) yield { chunk, offset };
    offset += chunk.length;
  }
  if (beginning) {
    const mark = markLength(beginning, source.name);
    if (beginning.length > mark) yield { chunk: beginning.subarray(mark), offset: mark };
  }
}

function markLength(bytes: Uint8Array, name: string): number {
  const [a, b, c] = bytes;
  if (a === 0xef && b === 0xbb && c === 0xbf) return 3;
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
    throw new TsumikiError(
      "DATA",
      `${name} is UTF-16 (it begins with that byte order mark). Convert it first, for example with iconv -f UTF-16 -t UTF-8.`,
    );
  }
  return 0;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
