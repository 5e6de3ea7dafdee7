/** The decoders of `tokenizer.json`: from tokens as the vocabulary spells them to text. */

import { TsumikiError } from "../../errors.js";
import { byteLevelBytes } from "../byte-alphabet.js";
import { patternOf } from "../oniguruma/pattern.js";
import { characterOption, countOption, stagesOption, textOption } from "../stage-options.js";
import { replaceMatches } from "../text/aligned-text.js";
import type { Stage } from "../tokenizer-json.js";

export type Decoder = (tokens: string[]) => string[];

export function createDecoder(stage: Stage | null): (tokens: string[]) => string {
  if (stage === null) return (tokens) => tokens.join(" ");
  const decode = decoderOf(stage);
  return (tokens) => decode(tokens).join("");
}

function decoderOf(stage: Stage): Decoder {
  switch (stage.type) {
    case "Sequence": {
      const steps = stagesOption(stage, "decoders").map(decoderOf);
      return (tokens) => steps.reduce((texts, step) => step(texts), tokens);
    }
    case "ByteLevel":
      return (tokens) => [textOfBytes(tokens)];
    case "WordPiece": {
      const prefix = textOption(stage, "prefix", "##");
      const cleanUp = stage.cleanup !== false;
      return (tokens) =>
        tokens.map((token, i) => {
          const text = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
          return cleanUp ? withoutSpacesBeforePunctuation(text) : text;
        });
    }
    case "Metaspace": {
      const mark = characterOption(stage, "replacement", "▁");
      const removesFirst = stage.add_prefix_space !== false && stage.prepend_scheme !== "never";
      return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && removesFirst ? "" : " "));
    }
    case "BPEDecoder": {
      const suffix = textOption(stage, "suffix", "</w>");
      return (tokens) => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? "" : " "));
    }
    case "ByteFallback":
      return joinByteTokens;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Strip": {
      const content = characterOption(stage, "content");
      const [start, stop] = [countOption(stage, "start", 0), countOption(stage, "stop", 0)];
      return (tokens) => tokens.map((token) => stripped(token, content, start, stop));
    }
    case "Replace": {
      const pattern = patternOf(stage.pattern);
      const content = textOption(stage, "content");
      return (tokens) => tokens.map((token) => replaceMatches({ text: token, alignment: undefined }, pattern, content).text);
    }
    case "CTC": {
      const pad = textOption(stage, "pad_token", "<pad>");
      const delimiter = textOption(stage, "word_delimiter_token", "|");
      const cleanup = stage.cleanup !== false;
      return (tokens) =>
        tokens
          .filter((token, i) => token !== tokens[i - 1])
          .map((token) => {
            const text = token.replaceAll(pad, "");
            return cleanup ? withoutSpacesBeforePunctuation(text).replaceAll(delimiter, " ") : text;
          })
          .filter((text) => text !== "");
    }
    default:
      throw new TsumikiError("TOKENIZER", `This tokenizer.json has a decoder of type ${stage.type}, which is not known here.`);
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** A token with a character outside the alphabet of bytes stands for its own UTF-8. */
function textOfBytes(tokens: readonly string[]): string {
  const parts = tokens.map((token) => byteLevelBytes(token) ?? encoder.encode(token));
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return utf8.decode(bytes);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Tokens `<0x..>` side by side are UTF-8, or one U+FFFD each. */
function joinByteTokens(tokens: string[]): string[] {
  const texts: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      texts.push(strictUtf8.decode(Uint8Array.from(bytes)));
    } catch {
      texts.push(...bytes.map(() => "\uFFFD"));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      texts.push(token);
    }
  }
  flush();
  return texts;
}

function stripped(token: string, content: string, start: number, stop: number): string {
  const characters = [...token];
  let from = 0;
  let to = characters.length;
  while (from < start && characters[from] === content) from++;
  while (to > from && characters.length - to < stop && characters[to - 1] === content) to--;
  return characters.slice(from, to).join("");
}

const withoutSpacesBeforePunctuation = (text: string): string =>
  text
    .replaceAll(" .", ".")
    .replaceAll(" ?", "?")
    .replaceAll(" !", "!")
    .replaceAll(" ,", ",")
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" do not", " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
