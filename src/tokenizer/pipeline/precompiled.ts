/** The normalizer that SentencePiece compiles into its models: a double-array trie from characters to their replacements. */

import { TsumikiError } from "../../errors.js";
import { endOfSimple, graphemes, startOfSimple } from "../text/graphemes.js";
import { Transformation, transformed } from "../text/transform.js";
import type { Normalizer } from "./normalizers.js";

/**
 * @param charsmap base64 of: the trie's size [bytes, uint32], the trie (Darts: uint32 units), replacements that end in a NUL each.
 *
 * A grapheme of at most five bytes is looked up whole, otherwise character by character; of the keys that begin it the shortest
 * counts. This is what SentencePiece's port to Rust does, and what models were used with since.
 */
export function precompiledNormalizer(charsmap: string): Normalizer {
  const bytes = fromBase64(charsmap);
  const view = new DataView(bytes.buffer);
  const trieBytes = bytes.length < 4 ? Number.NaN : view.getUint32(0, true);
  if (!(trieBytes + 4 <= bytes.length))
    throw new TsumikiError("TOKENIZER", "The precompiled_charsmap of this tokenizer.json's normalizer is truncated.");
  const units = Uint32Array.from({ length: trieBytes >> 2 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + trieBytes);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const encoder = new TextEncoder();
  const known = new Map<string, string | undefined>();

  const replacementAt = (start: number): string => {
    const end = replacements.indexOf(0, start);
    if (end >= 0) return decoder.decode(replacements.subarray(start, end));
    throw new TsumikiError("TOKENIZER", "The precompiled_charsmap of this tokenizer.json refers to a text behind its end.");
  };

  const lookUp = (text: string): string | undefined => {
    let node = offsetOf(units[0] as number);
    for (const byte of encoder.encode(text)) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = units[node] as number;
      if ((unit & 0x800000ff) !== byte) return undefined;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) return replacementAt((units[node] as number) & 0x7fffffff);
    }
    return undefined;
  };

  const transform = (text: string): string | undefined => {
    if (!known.has(text)) {
      if (known.size > 100_000) known.clear();
      known.set(text, lookUp(text));
    }
    return known.get(text);
  };

  const isShort = (grapheme: string) => grapheme.length <= 5 && encoder.encode(grapheme).length < 6;

  /** Of the simple characters, what each becomes; undefined where it was not looked up, null where it stays. */
  const simple: (string | null | undefined)[] = new Array(0x10000);

  const rewritten = (text: string): string => {
    const parts: string[] = [];
    let kept = 0;
    const put = (start: number, end: number): boolean => {
      const replacement = transform(text.slice(start, end));
      if (replacement === undefined) return false;
      if (start > kept) parts.push(text.slice(kept, start));
      parts.push(replacement);
      kept = end;
      return true;
    };
    for (let at = 0; at < text.length; ) {
      const alone = endOfSimple(text, at);
      for (; at < alone; at++) {
        const unit = text.charCodeAt(at);
        if (simple[unit] === undefined) simple[unit] = transform(text[at] as string) ?? null;
        if (simple[unit] !== null) put(at, at + 1);
      }
      const joining = startOfSimple(text, at);
      for (const { start, end } of graphemes(text, at, joining)) {
        if (isShort(text.slice(start, end)) && put(start, end)) continue;
        for (let character = start; character < end; ) {
          const next = character + ((text.codePointAt(character) as number) > 0xffff ? 2 : 1);
          put(character, next);
          character = next;
        }
      }
      at = joining;
    }
    return kept === 0 ? text : parts.join("") + text.slice(kept);
  };

  /** The same, told character by character: which of them stand for which follows from how many there are. */
  const retold = (text: string): Transformation => {
    const result = new Transformation();
    for (const { start, end } of graphemes(text)) {
      const grapheme = text.slice(start, end);
      const whole = isShort(grapheme) ? transform(grapheme) : undefined;
      if (whole !== undefined) {
        result.replace(grapheme, whole);
        continue;
      }
      for (const character of grapheme) {
        const replacement = transform(character);
        if (replacement === undefined) result.add(character, 0);
        else result.replace(character, replacement);
      }
    }
    return result;
  };

  return (source) => {
    const text = rewritten(source.text);
    if (!source.alignment || text === source.text) return { text, alignment: source.alignment };
    return transformed(source, retold(source.text));
  };
}

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  let decoded: string;
  try {
    decoded = atob(text);
  } catch (cause) {
    throw new TsumikiError("TOKENIZER", "The precompiled_charsmap of this tokenizer.json's normalizer is not base64.", { cause });
  }
  return Uint8Array.from(decoded, (character) => character.charCodeAt(0));
}
