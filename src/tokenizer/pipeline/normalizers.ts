/** The normalizers of `tokenizer.json`: what is done to a text before it is cut into pieces. */

import { TsumikiError } from "../../errors.js";
import { byteLevelText } from "../byte-alphabet.js";
import { patternOf } from "../oniguruma/pattern.js";
import { stagesOption, textOption } from "../stage-options.js";
import { type AlignedText, replaceCharacters, replaceMatches, TextRewriter } from "../text/aligned-text.js";
import { characterClass, isCharacter, whiteSpace } from "../text/characters.js";
import { unicodeNormalizer } from "../text/unicode-forms.js";
import type { Stage } from "../tokenizer-json.js";
import { precompiledNormalizer } from "./precompiled.js";

export type Normalizer = (source: AlignedText) => AlignedText;

export const normalizedText = (normalize: Normalizer, text: string): string => normalize({ text, alignment: undefined }).text;

export function createNormalizer(stage: Stage): Normalizer {
  switch (stage.type) {
    case "Sequence": {
      const steps = stagesOption(stage, "normalizers").map(createNormalizer);
      return (source) => steps.reduce((text, step) => step(text), source);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return unicodeNormalizer(stage.type);
    case "Lowercase":
      return lowercase;
    case "BertNormalizer":
      return bertNormalizer(stage);
    case "StripAccents":
      return (source) => removeCharacters(source, characterClass.combiningMark);
    case "Strip":
      return (source) => strip(source, stage.strip_left !== false, stage.strip_right !== false);
    case "Replace": {
      const pattern = patternOf(stage.pattern);
      const content = textOption(stage, "content");
      return (source) => replaceMatches(source, pattern, content);
    }
    case "Prepend": {
      const prefix = textOption(stage, "prepend");
      return (source) => prepend(source, prefix);
    }
    case "Nmt":
      return nmt;
    case "Precompiled":
      return precompiledNormalizer(textOption(stage, "precompiled_charsmap", ""));
    case "ByteLevel":
      return (source) => replaceCharacters(source, (code) => byteLevelText(String.fromCodePoint(code)));
    default:
      throw new TsumikiError("TOKENIZER", `This tokenizer.json has a normalizer of type ${stage.type}, which is not known here.`);
  }
}

/** Character by character, as in Rust: no final sigma (ς), which depends on the letters around. */
function lowercase(source: AlignedText): AlignedText {
  if (!source.alignment && !/[^\0-\x7f]/.test(source.text)) return { text: source.text.toLowerCase(), alignment: undefined };
  return replaceCharacters(source, (code) => {
    const character = String.fromCodePoint(code);
    const lower = character.toLowerCase();
    return lower === character ? undefined : lower;
  });
}

function removeCharacters(source: AlignedText, bits: number): AlignedText {
  return replaceCharacters(source, (code) => (isCharacter(code, bits) ? "" : undefined));
}

/** BERT's basic cleaning (Devlin et al. 2019, `tokenization.py`). */
function bertNormalizer(stage: Stage): Normalizer {
  const cleanText = stage.clean_text !== false;
  const spaceChinese = stage.handle_chinese_chars !== false;
  const toLower = stage.lowercase !== false;
  const stripAccents = typeof stage.strip_accents === "boolean" ? stage.strip_accents : toLower;
  const decompose = unicodeNormalizer("NFD");
  return (source) => {
    // Plain ASCII needs neither Chinese nor accents looked for.
    if (!source.alignment && !/[^\t\n\r -~]/.test(source.text)) {
      const cleaned = cleanText ? source.text.replace(/[\t\n\r]/g, " ") : source.text;
      return { text: toLower ? cleaned.toLowerCase() : cleaned, alignment: undefined };
    }
    let text = source;
    if (cleanText) text = replaceCharacters(text, cleaned);
    if (spaceChinese) text = replaceCharacters(text, (code) => (isChinese(code) ? ` ${String.fromCodePoint(code)} ` : undefined));
    if (stripAccents) text = removeCharacters(decompose(text), characterClass.nonspacingMark);
    return toLower ? lowercase(text) : text;
  };
}

function cleaned(code: number): string | undefined {
  if (code === 9 || code === 10 || code === 13) return " ";
  if (code === 0 || code === 0xfffd || isCharacter(code, characterClass.removedByCleaning)) return "";
  return isCharacter(code, characterClass.whiteSpace) ? " " : undefined;
}

/** The blocks that BERT calls Chinese characters: those of CJK ideographs up to Unicode 8, less extension E's first 256. */
function isChinese(code: number): boolean {
  if (code < 0x3400) return false;
  return (
    (code >= 0x4e00 && code <= 0x9fff) ||
    code <= 0x4dbf ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0x20000 && code <= 0x2a6df) ||
    (code >= 0x2a700 && code <= 0x2b73f) ||
    (code >= 0x2b740 && code <= 0x2b81f) ||
    (code >= 0x2b920 && code <= 0x2ceaf) ||
    (code >= 0x2f800 && code <= 0x2fa1f)
  );
}

function strip(source: AlignedText, left: boolean, right: boolean): AlignedText {
  const { text } = source;
  let start = 0;
  let end = text.length;
  if (left) while (start < end && whiteSpace.includes(text[start] as string)) start++;
  if (right) while (end > start && whiteSpace.includes(text[end - 1] as string)) end--;
  if (start === 0 && end === text.length) return source;
  const rewriter = new TextRewriter(source);
  rewriter.replaceTo(start, "");
  rewriter.keepTo(end);
  rewriter.replaceTo(text.length, "");
  return rewriter.finish();
}

/** What is prepended has the range of the first character. */
export function prepend(source: AlignedText, prefix: string): AlignedText {
  const { text, alignment } = source;
  if (text === "" || prefix === "") return source;
  if (!alignment) return { text: prefix + text, alignment };
  const widened = (values: Int32Array) => {
    const wider = new Int32Array(values.length + prefix.length).fill(values[0] as number);
    wider.set(values, prefix.length);
    return wider;
  };
  return { text: prefix + text, alignment: { ...alignment, starts: widened(alignment.starts), ends: widened(alignment.ends) } };
}

/** SentencePiece's rules for translation: control characters go, what is like a space becomes one. */
function nmt(source: AlignedText): AlignedText {
  const { text, alignment } = source;
  if (!alignment && /^[\t\n\f\r -~]*$/.test(text)) return { text: text.replace(/[\t\n\f\r]/g, " "), alignment };
  return replaceCharacters(source, (code) => {
    if (code > 0xd && code < 0x7f) return code < 0x20 ? "" : undefined;
    if (code === 9 || code === 10 || code === 12 || code === 13) return " ";
    if ((code >= 1 && code <= 8) || code === 0xb || code === 0x7f || code === 0x8f || code === 0x9f) return "";
    if (code < 0x1680) return undefined;
    const isSpace =
      code === 0x1680 || (code >= 0x200b && code <= 0x200f) || code === 0x2028 || code === 0x2029 || code === 0x2581;
    return isSpace || code === 0xfeff || code === 0xfffd ? " " : undefined;
  });
}
