/**
 * The 256 bytes as visible characters (Radford et al. 2019, `bytes_to_unicode`): printable ones of Latin-1 stand for themselves, the
 * other 68 for U+0100 onwards, so that tokens can be written in JSON and read by people (`Ġthe` is " the").
 */

import { stringOfUnits } from "./text/word-table.js";

const isPrintable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

/** The bytes in the order of their visible characters' code points: this order gives them their token ids. */
export const alphabetBytes: readonly number[] = [
  ...Array.from({ length: 256 }, (_, byte) => byte).filter(isPrintable),
  ...Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isPrintable(byte)),
];

const printableCount = alphabetBytes.filter(isPrintable).length;

/** The visible characters of `alphabetBytes`. */
export const byteAlphabet: readonly string[] = alphabetBytes.map((byte, index) =>
  String.fromCharCode(isPrintable(byte) ? byte : 0x100 + index - printableCount),
);

const visibleOfByte: readonly string[] = alphabetBytes.reduce<string[]>((visible, byte, index) => {
  visible[byte] = byteAlphabet[index] as string;
  return visible;
}, new Array<string>(256));

const unitOfByte = Uint16Array.from(visibleOfByte, (visible) => visible.charCodeAt(0));

const byteOfVisible: ReadonlyMap<string, number> = new Map(
  byteAlphabet.map((character, i) => [character, alphabetBytes[i] as number]),
);

/** A string that is put together character by character takes thirty bytes for each until it is read. [UTF-16 units] */
const blockUnits = 1 << 16;

/** The UTF-8 bytes of `text` as visible characters. A lone surrogate counts as U+FFFD. */
export function byteLevelText(text: string): string {
  if (text.length <= blockUnits) return visibleBytes(text);
  const encoder = new TextEncoder();
  const blocks: string[] = [];
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + blockUnits, text.length);
    if ((text.codePointAt(end - 1) as number) > 0xffff) end++; // not between the halves of a character
    const units = Uint16Array.from(encoder.encode(text.slice(start, end)), (byte) => unitOfByte[byte] as number);
    blocks.push(stringOfUnits(units, 0, units.length));
    start = end;
  }
  return blocks.join("");
}

function visibleBytes(text: string): string {
  let visible = "";
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      visible += visibleOfByte[code];
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) {
      code = text.codePointAt(i) as number;
      if (code > 0xffff) i++;
      else code = 0xfffd;
    }
    if (code < 0x800) visible += (visibleOfByte[0xc0 | (code >> 6)] as string) + visibleOfByte[0x80 | (code & 63)];
    else {
      if (code < 0x10000) visible += visibleOfByte[0xe0 | (code >> 12)];
      else visible += (visibleOfByte[0xf0 | (code >> 18)] as string) + visibleOfByte[0x80 | ((code >> 12) & 63)];
      visible += (visibleOfByte[0x80 | ((code >> 6) & 63)] as string) + visibleOfByte[0x80 | (code & 63)];
    }
  }
  return visible;
}

/** The bytes that `visible` stands for, or undefined where a character of it is not of the alphabet. */
export function byteLevelBytes(visible: string): number[] | undefined {
  const bytes: number[] = [];
  for (const character of visible) {
    const byte = byteOfVisible.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}
