/**
 * Cutting text with the patterns of GPT-2 and of the models after GPT-4, written out by hand: several times as fast as a regular
 * expression, and without its limit on the length of a match.
 */

import { characterClass, characterClasses } from "../text/characters.js";

/** Calls `visit` with the range of each piece of `text`, in order. */
export type Cutter = (text: string, visit: (start: number, end: number) => void) => void;

/** GPT-2's pattern (Radford et al. 2019, `encoder.py`), as `tokenizer.json` files spell it. */
export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Llama 3's pattern, which is that of OpenAI's cl100k_base: numbers in groups of up to three digits. */
export const llama3Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Qwen 2's and 3's pattern: the same with each digit on its own. */
export const qwenPattern = llama3Pattern.replace("\\p{N}{1,3}", "\\p{N}");

/** The scanner that does what the pattern says, where there is one. */
export function scannerFor(pattern: string): Cutter | undefined {
  switch (pattern) {
    case gpt2Pattern:
      return scanGpt2;
    case llama3Pattern:
      return (text, visit) => scanGpt4(text, 3, visit);
    case qwenPattern:
      return (text, visit) => scanGpt4(text, 1, visit);
    default:
      return undefined;
  }
}

const { letter, number, whiteSpace } = characterClass;
const known = letter | number | whiteSpace;
const space = 0x20;
const apostrophe = 0x27;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

const codeAt = (text: string, at: number): number => {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit < 0xdc00 ? (text.codePointAt(at) as number) : unit;
};
const widthOf = (code: number): number => (code > 0xffff ? 2 : 1);

/** Where the run of characters ends that begins at `at` and has `bits` and nothing else of letter, number and white space. */
function endOfRun(text: string, at: number, bits: number, classes: Uint8Array): number {
  let end = at;
  while (end < text.length) {
    const code = codeAt(text, end);
    if (((classes[code] as number) & known) !== bits) break;
    end += widthOf(code);
  }
  return end;
}

function scanGpt2(text: string, visit: (start: number, end: number) => void): void {
  const classes = characterClasses();
  for (let at = 0; at < text.length; ) {
    let end = at + contraction(text, at, false);
    if (end === at) {
      const first = codeAt(text, at);
      const start = first === space && at + 1 < text.length ? at + 1 : at;
      const bits = (classes[codeAt(text, start)] as number) & known;
      end = bits === whiteSpace ? endOfSpace(text, at, classes) : endOfRun(text, start, bits, classes);
    }
    visit(at, end);
    at = end;
  }
}

function scanGpt4(text: string, digits: number, visit: (start: number, end: number) => void): void {
  const classes = characterClasses();
  for (let at = 0; at < text.length; ) {
    const end = endOfGpt4Piece(text, at, digits, classes);
    visit(at, end);
    at = end;
  }
}

function endOfGpt4Piece(text: string, at: number, digits: number, classes: Uint8Array): number {
  const contracted = contraction(text, at, true);
  if (contracted > 0) return at + contracted;
  const first = codeAt(text, at);
  const bits = (classes[first] as number) & known;
  if (bits === letter) return endOfRun(text, at, letter, classes);
  if (bits === number) {
    let end = at;
    for (let digit = 0; digit < digits && end < text.length; digit++) {
      const code = codeAt(text, end);
      if (((classes[code] as number) & number) === 0) break;
      end += widthOf(code);
    }
    return end;
  }
  const second = at + widthOf(first);
  const isLineEnd = first === lineFeed || first === carriageReturn;
  const nextBits = second < text.length ? (classes[codeAt(text, second)] as number) & known : whiteSpace;
  if (!isLineEnd && nextBits === letter) return endOfRun(text, second, letter, classes);
  const symbols = bits === 0 ? at : first === space && nextBits === 0 ? second : undefined;
  if (symbols !== undefined) {
    let end = endOfRun(text, symbols, 0, classes);
    while (end < text.length && (text.charCodeAt(end) === lineFeed || text.charCodeAt(end) === carriageReturn)) end++;
    return end;
  }
  // White space: through its last line end where there is one.
  const run = endOfRun(text, at, whiteSpace, classes);
  for (let end = run; end > at; end--) {
    const unit = text.charCodeAt(end - 1);
    if (unit === lineFeed || unit === carriageReturn) return end;
  }
  return withoutLastSpace(text, at, run);
}

const endOfSpace = (text: string, at: number, classes: Uint8Array): number =>
  withoutLastSpace(text, at, endOfRun(text, at, whiteSpace, classes));

/** `\s+(?!\S)|\s+`: the last white space before a word stands alone or goes with the word. */
const withoutLastSpace = (text: string, at: number, end: number): number => (end < text.length && end - at > 1 ? end - 1 : end);

/** The length of `'s`, `'ll` and the like at `at`, or 0. */
function contraction(text: string, at: number, ignoringCase: boolean): number {
  if (text.charCodeAt(at) !== apostrophe) return 0;
  const first = text.charCodeAt(at + 1) | (ignoringCase ? 0x20 : 0);
  const second = text.charCodeAt(at + 2) | (ignoringCase ? 0x20 : 0);
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return 2; // s t m d
  if (ignoringCase && text.charCodeAt(at + 1) === 0x17f) return 2; // ſ, an s to those who ignore case
  if (second === 0x65 && (first === 0x72 || first === 0x76)) return 3; // re ve
  if (second === 0x6c && first === 0x6c) return 3; // ll
  return 0;
}
