/** Classes of characters, alike in every version of Node and every browser: see unicode-tables.ts. */

import {
  combiningMarks,
  letters,
  nonspacingMarks,
  numbers,
  punctuation,
  removedByCleaning,
  unknownToNormalization,
  wordCharacters,
} from "./unicode-tables.js";

/** Bits of `characterClasses()`. */
export const characterClass = {
  letter: 1,
  number: 2,
  whiteSpace: 4,
  word: 8,
  punctuation: 16,
  removedByCleaning: 32,
  nonspacingMark: 64,
  combiningMark: 128,
} as const;

/** Unicode's White_Space, which no longer changes; JavaScript's `\s` has U+FEFF too and lacks U+0085. */
export const whiteSpace =
  "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

let classes: Uint8Array | undefined;

/** The bits of each code point. */
export function characterClasses(): Uint8Array {
  if (classes) return classes;
  const table = new Uint8Array(0x110000);
  const mark = (ranges: string, bit: number) =>
    forEachRange(ranges, (start, end) => {
      for (let code = start; code < end; code++) table[code] = (table[code] as number) | bit;
    });
  mark(letters, characterClass.letter);
  mark(numbers, characterClass.number);
  mark(wordCharacters, characterClass.word);
  mark(punctuation, characterClass.punctuation);
  mark(removedByCleaning, characterClass.removedByCleaning);
  mark(nonspacingMarks, characterClass.nonspacingMark);
  mark(combiningMarks, characterClass.combiningMark);
  for (const space of whiteSpace) {
    const code = space.charCodeAt(0);
    table[code] = (table[code] as number) | characterClass.whiteSpace;
  }
  classes = table;
  return table;
}

/** Whether the code point has any of the bits. */
export const isCharacter = (codePoint: number, bits: number): boolean => ((characterClasses()[codePoint] as number) & bits) !== 0;

/** A character class of regular expressions (`u` flag) with the characters of `unknownToNormalization`. */
export function unknownToNormalizationPattern(): RegExp {
  const members: string[] = [];
  forEachRange(unknownToNormalization, (start, end) => members.push(`\\u{${start.toString(16)}}-\\u{${(end - 1).toString(16)}}`));
  return new RegExp(`[${members.join("")}]+`, "u");
}

function forEachRange(ranges: string, visit: (start: number, end: number) => void): void {
  const lengths = ranges.split(" ").map((length) => Number.parseInt(length, 36));
  let at = 0;
  for (let i = 0; i < lengths.length; i += 2) {
    const start = at + (lengths[i] as number);
    at = start + (lengths[i + 1] as number);
    visit(start, at);
  }
}
