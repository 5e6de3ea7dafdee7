/** From bytes to text. */

import { TsumikiError } from "../errors.js";

/** Decodes UTF-8 without its byte order mark; bytes that are something else are an error that names `source` and the place. */
export function decodeUtf8(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const offset = firstInvalidByte(bytes);
    if (offset === undefined) throw cause; // not about UTF-8: the text is longer than a string can be
    const byte = (bytes[offset] as number).toString(16).toUpperCase().padStart(2, "0");
    throw new TsumikiError(
      "DATA",
      `${source} is not UTF-8: byte ${offset} (0x${byte}) does not fit. Convert it to UTF-8 first, for example with iconv.`,
      {
        cause,
      },
    );
  }
}

/** Where the first sequence of bytes starts that is no character, or is an unfinished one at the end. */
function firstInvalidByte(bytes: Uint8Array): number | undefined {
  /** The whole characters in the first `length` bytes, or undefined when something is wrong before an unfinished character at their end. */
  const characters = (length: number, stream: boolean): string | undefined => {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), { stream });
    } catch {
      return undefined;
    }
  };
  if (characters(bytes.length, false) !== undefined) return undefined;
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (characters(middle, true) === undefined) invalid = middle;
    else valid = middle;
  }
  return new TextEncoder().encode(characters(valid, true)).length;
}

/** Whether `bytes` are the text that the card pins. A page without a secure context has no SHA-256: there the length must do. */
export async function hasContent(bytes: Uint8Array, card: { readonly bytes: number; readonly sha256: string }): Promise<boolean> {
  if (bytes.length !== card.bytes) return false;
  if (globalThis.crypto?.subtle === undefined) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === card.sha256;
}
