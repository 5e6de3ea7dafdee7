/** From text to ids: added tokens, normalizer, pre-tokenizer, model. */

import { byteLevelText } from "../byte-alphabet.js";
import { type SubwordModel, TokenList } from "../models/model.js";
import { type AlignedText, aligned, originalRange, replaceCharacters } from "../text/aligned-text.js";
import { wellFormed } from "../text/well-formed.js";
import type { AddedToken, TokenizerJson } from "../tokenizer-json.js";
import { UnknownCharacterError } from "../unknown-character.js";
import { createSectionFinder, type SectionFinder } from "./added-tokens.js";
import { chunkCutter } from "./chunks.js";
import { IdList, PieceMemory } from "./memory.js";
import { type Normalizer, normalizedText } from "./normalizers.js";
import { createPreTokenizer, preTokenize, slice } from "./pre-tokenizers.js";

/**
 * Calls `visit` with each token: its id and the range of the text that it stands for [UTF-16 units]; of added tokens also how they are
 * spelled there, with the white space that they take with them.
 */
export type TokenVisitor = (id: number, start: number, end: number, spelling?: string) => void;

export interface TextEncoding {
  /** @param splitSpecial encodes the spelling of special tokens as text */
  encode(text: string, splitSpecial: boolean): Int32Array;
  /** The same tokens and where they stand. */
  encodeWithOffsets(text: string, splitSpecial: boolean, visit: TokenVisitor): void;
  /** Encodes each piece with `encodePiece` instead of the model's own way. */
  encodeWith(text: string, splitSpecial: boolean, encodePiece: (piece: string, tokens: TokenList) => void): Int32Array;
}

export function createTextEncoding(json: TokenizerJson, model: SubwordModel, normalize: Normalizer): TextEncoding {
  const { stages, byteLevel } = createPreTokenizer(json.pre_tokenizer);
  const isNormalized = (token: AddedToken) => token.normalized;
  const findTokens = createSectionFinder(
    json.added_tokens.filter((token) => !isNormalized(token)),
    ({ content }) => content,
  );
  const findNormalizedTokens = createSectionFinder(json.added_tokens.filter(isNormalized), ({ content }) =>
    normalizedText(normalize, content),
  );
  const cutChunks = chunkCutter(json, normalize);
  const pieces = new PieceMemory();
  // Chunks may hold tokens that count as text or not.
  const chunks = { whole: new PieceMemory(), split: new PieceMemory() };
  const tokens = new TokenList();

  /** Encodes the piece `text[start, end)` into `tokens`. */
  const encodePiece = (text: string, start: number, end: number): void => {
    tokens.length = 0;
    const piece = text.slice(start, end);
    model.encode(byteLevel ? byteLevelText(piece) : piece, tokens);
  };

  /** Normalizes, cuts and encodes; with `remember`, pieces are looked up and remembered. */
  const encodeSection = (text: string, isFirst: boolean, output: IdList, remember: boolean, splitSpecial: boolean): void => {
    const normalized = normalize({ text, alignment: undefined });
    const keepsFirst = isFirst && keepsStart(text, normalized);
    for (const { start, end, id } of findNormalizedTokens(normalized.text, splitSpecial)) {
      if (id !== undefined) {
        output.push(id);
        continue;
      }
      const whole = start === 0 && end === normalized.text.length;
      preTokenize(stages, whole ? normalized : slice(normalized, start, end), keepsFirst && start === 0, (source, from, to) => {
        if (remember && pieces.recall(source.text, from, to, output)) return;
        encodePiece(source.text, from, to);
        if (remember) pieces.remember(source.text, from, to, tokens);
        output.append(tokens.ids, 0, tokens.length);
      });
    }
  };

  const encodeChunks = (
    text: string,
    isFirst: boolean,
    output: IdList,
    cut: typeof cutChunks & object,
    splitSpecial: boolean,
  ): void => {
    const memory = splitSpecial ? chunks.split : chunks.whole;
    cut(text, (start, end) => {
      if (memory.recall(text, start, end, output)) return;
      const from = output.length;
      encodeSection(text.slice(start, end), isFirst && start === 0, output, false, splitSpecial);
      memory.rememberTail(text, start, end, output, from);
    });
  };

  return {
    encode(given, splitSpecial) {
      const text = wellFormed(given);
      const output = new IdList(text.length >> 1);
      try {
        for (const { start, end, id } of findTokens(text, splitSpecial)) {
          if (id !== undefined) output.push(id);
          else {
            const section = start === 0 && end === text.length ? text : text.slice(start, end);
            if (cutChunks) encodeChunks(section, start === 0, output, cutChunks, splitSpecial);
            else encodeSection(section, start === 0, output, true, splitSpecial);
          }
        }
      } catch (error) {
        throw withPlace(error, text);
      }
      return output.ids.slice(0, output.length);
    },

    encodeWithOffsets(given, splitSpecial, visit) {
      const text = wellFormed(given);
      const whole = aligned(text);
      forEachPiece(
        whole,
        splitSpecial,
        (source, start, end) => {
          const piece = slice(source, start, end);
          const spelled = byteLevel ? replaceCharacters(piece, (code) => byteLevelText(String.fromCodePoint(code))) : piece;
          tokens.length = 0;
          model.encode(spelled.text, tokens);
          visitTokens(spelled, visit);
        },
        visit,
      );
    },

    encodeWith(given, splitSpecial, encodeOne) {
      const output = new IdList(given.length >> 1);
      const source: AlignedText = { text: wellFormed(given), alignment: undefined };
      forEachPiece(
        source,
        splitSpecial,
        ({ text }, start, end) => {
          tokens.length = 0;
          const piece = text.slice(start, end);
          encodeOne(byteLevel ? byteLevelText(piece) : piece, tokens);
          output.append(tokens.ids, 0, tokens.length);
        },
        (id) => output.push(id),
      );
      return output.ids.slice(0, output.length);
    },
  };

  /** All pieces of a text, and the added tokens between them. */
  function forEachPiece(
    whole: AlignedText,
    splitSpecial: boolean,
    visitPiece: (source: AlignedText, start: number, end: number) => void,
    visitToken: TokenVisitor,
  ): void {
    inSections(findTokens, whole, splitSpecial, visitToken, (section, isFirst) => {
      const normalized = normalize(section);
      const keepsFirst = isFirst && keepsStart(section.text, normalized);
      inSections(findNormalizedTokens, normalized, splitSpecial, visitToken, (part, isFirstPart) =>
        preTokenize(stages, part, keepsFirst && isFirstPart, visitPiece),
      );
    });
  }

  /** Whether the first character of a text is still the first when it is normalized, where a stage wants to know. */
  function keepsStart(text: string, { alignment }: AlignedText): boolean {
    if (!json.normalizer || !stages.some(({ looksAtStart }) => looksAtStart)) return true;
    const starts = alignment?.starts ?? normalize(aligned(text.slice(0, probeLength))).alignment?.starts;
    return (
      starts?.[0] === 0 ||
      (starts?.length === 0 && text.length > probeLength && normalize(aligned(text)).alignment?.starts[0] === 0)
    );
  }

  /** The tokens of a piece: those that share a character (bytes of one) have its whole range. */
  function visitTokens({ text, alignment }: AlignedText, visit: TokenVisitor): void {
    for (let i = 0; i < tokens.length; i++) {
      const start = tokens.starts[i] as number;
      const end = Math.max(tokens.ends[i] as number, start + 1);
      const [first, last] = (alignment && originalRange(alignment, start, end)) ?? [start, Math.min(end, text.length)];
      const id = tokens.ids[i] as number;
      if (id === model.spelledId) visit(id, first, last, text.slice(start, end));
      else visit(id, first, last);
    }
  }
}

/** Enough of a text to see what becomes of its beginning. [UTF-16 units] */
const probeLength = 256;

function inSections(
  find: SectionFinder,
  source: AlignedText,
  splitSpecial: boolean,
  visitToken: TokenVisitor,
  visitText: (text: AlignedText, isFirst: boolean) => void,
): void {
  for (const { start, end, id } of find(source.text, splitSpecial)) {
    if (id === undefined) visitText(slice(source, start, end), start === 0);
    else {
      const range = source.alignment && originalRange(source.alignment, start, end);
      visitToken(id, range?.[0] ?? start, range?.[1] ?? end, source.text.slice(start, end));
    }
  }
}

function withPlace(error: unknown, text: string): unknown {
  if (!(error instanceof UnknownCharacterError)) return error;
  const offset = text.indexOf(error.character);
  return offset < 0 ? error : new UnknownCharacterError(error.character, error.knownTokens, ` at offset ${offset}`);
}
