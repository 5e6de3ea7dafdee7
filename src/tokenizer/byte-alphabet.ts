/**
 * The 256 bytes as visible characters (Radford et al. 2019, `bytes_to_unicode`): printable ones of Latin-1 stand for themselves, the
 * other 68 for U+0100 onwards, so that tokens can be written in JSON and read by people (`Ġthe` is " the").
 */

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
