/** Training a tokenizer on a text. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { learnBytePairs } from "./bpe.js";
import { byteAlphabet } from "./byte-alphabet.js";
import { forEachPiece, gpt2Pattern, splitAtTokens, wellFormed } from "./pretokenize.js";
import { type Tokenizer, tokenizerFromJson } from "./tokenizer.js";
import { byteLevelBpeJson, characterJson, type TokenizerJson } from "./tokenizer-json.js";

export type TokenizerTraining =
  | {
      /** Byte-level byte pair encoding (Radford et al. 2019): encodes any text. */
      model: "bpe";
      /** Tokens in all, special ones and the 256 bytes included; fewer when the text has no more pairs to merge. */
      vocabSize: number;
      specialTokens?: readonly string[];
    }
  | {
      /** One token for each code point of the text. Other characters cannot be encoded. */
      model: "character";
      /** When given, a text with more different characters is refused. */
      vocabSize?: number;
      specialTokens?: readonly string[];
    };

/**
 * Learns a vocabulary from `text`. Special tokens get the first ids; where they occur in the text they are not learned from.
 * The same text and options always give the same tokenizer.
 *
 * @throws TsumikiError DATA for an empty text, TOKENIZER for a vocabulary that is too small or special tokens that clash
 */
export async function trainTokenizer(text: string, options: TokenizerTraining): Promise<Tokenizer> {
  if (text === "") throw new TsumikiError("DATA", "The text to train a tokenizer on is empty.");
  const specialTokens = options.specialTokens ?? [];
  if (specialTokens.includes("") || new Set(specialTokens).size < specialTokens.length)
    throw new TsumikiError(
      "TOKENIZER",
      `Special tokens must be different and not empty, but ${JSON.stringify(specialTokens)} was given.`,
    );
  const special = new Set(specialTokens);
  const sections = splitAtTokens(wellFormed(text), specialTokens).filter((section) => !special.has(section));
  return tokenizerFromJson(learn(sections, specialTokens, options));
}

function learn(sections: readonly string[], specialTokens: readonly string[], options: TokenizerTraining): TokenizerJson {
  switch (options.model) {
    case "bpe":
      return byteLevelBpe(sections, specialTokens, options.vocabSize);
    case "character":
      return characters(sections, specialTokens, options.vocabSize);
    default: {
      const { model } = options as { model: unknown };
      throw new ArgumentError(`A tokenizer's model is "bpe" or "character", but ${JSON.stringify(model)} was given.`);
    }
  }
}

function byteLevelBpe(sections: readonly string[], specialTokens: readonly string[], vocabSize: number): TokenizerJson {
  const smallest = byteAlphabet.length + specialTokens.length;
  if (!Number.isInteger(vocabSize) || vocabSize < smallest) {
    throw new TsumikiError(
      "TOKENIZER",
      `vocabSize is ${vocabSize}, but a byte-level vocabulary holds the ${byteAlphabet.length} bytes` +
        `${specialTokens.length > 0 ? ` and ${specialTokens.length} special tokens` : ""}: give a whole number of at least ${smallest} ` +
        "(1,024 suits a book, 6,400 to 50,000 larger collections).",
    );
  }
  const words = new Map<string, number>();
  for (const section of sections) forEachPiece(section, gpt2Pattern, (word) => words.set(word, (words.get(word) ?? 0) + 1));
  const { tokens, merges } = learnBytePairs(words, vocabSize, specialTokens);
  return byteLevelBpeJson(tokens, merges, specialTokens);
}

function characters(sections: readonly string[], specialTokens: readonly string[], vocabSize?: number): TokenizerJson {
  const found = new Set<string>();
  for (const section of sections) for (const character of section) found.add(character);
  const tokens = [...specialTokens, ...[...found].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0))];
  if (tokens.length < 2 || (vocabSize !== undefined && !(vocabSize >= tokens.length))) {
    throw new TsumikiError(
      "TOKENIZER",
      `The text has ${found.size} different characters${specialTokens.length > 0 ? `, with special tokens ${tokens.length} tokens` : ""}, ` +
        `but ${tokens.length < 2 ? "a vocabulary needs at least 2 tokens" : `vocabSize is ${vocabSize}; leave it out, or use model: "bpe"`}.`,
    );
  }
  return characterJson(tokens, specialTokens);
}
