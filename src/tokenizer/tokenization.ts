/** Texts and pairs of texts to encodings with offsets and masks: truncation, what is added around them, padding. */

import { ArgumentError } from "../errors.js";
import { concatenated, type Encoding, type Padding, padded, plainEncoding, type Truncation, truncated } from "./encoding.js";
import type { TextEncoding } from "./pipeline/encoder.js";
import { createPostProcessor } from "./pipeline/post-processors.js";
import { inPoints, inUnits, TextPlaces } from "./text/text-places.js";
import type { TokenizeOptions, TokenizerConfig, TokenizerInput } from "./tokenizer.js";
import type { TokenizerJson } from "./tokenizer-json.js";

interface Tokens {
  idToToken(id: number): string | undefined;
  tokenToId(token: string): number | undefined;
  readonly config: TokenizerConfig;
}

export function createTokenization(json: TokenizerJson, texts: TextEncoding, { idToToken, tokenToId, config }: Tokens) {
  const processor = createPostProcessor(json.post_processor);

  const encodingOf = (text: string, sequence: number, splitSpecial: boolean): Encoding => {
    const ids: number[] = [];
    const tokens: string[] = [];
    const offsets: number[] = [];
    texts.encodeWithOffsets(text, splitSpecial, (id, start, end, spelling = idToToken(id) ?? "") => {
      ids.push(id);
      tokens.push(spelling);
      offsets.push(start, end);
    });
    return plainEncoding(Int32Array.from(ids), tokens, Int32Array.from(offsets), sequence);
  };

  const unpadded = (input: TokenizerInput, options: TokenizeOptions): Encoding => {
    const { addSpecialTokens = true, truncation, splitSpecialTokens = splitsSpecialTokens(config) } = options;
    const given = typeof input === "string" ? [input] : input;
    let encodings: readonly Encoding[] = given.map((text, i) => encodingOf(text, i, splitSpecialTokens));
    if (truncation)
      encodings = truncatedTogether(encodings, truncation, addSpecialTokens ? processor.addedTokens(given.length > 1) : 0);
    const places = given.map((text) => new TextPlaces(text));
    const processed = processor.process(inPoints(encodings, places), addSpecialTokens);
    const [only] = processed;
    return inUnits(only && processed.length === 1 ? only : concatenated(processed), places);
  };

  const pad = (
    encodings: readonly Encoding[],
    { length = "longest", multipleOf, direction = "right", token }: Padding,
  ): Encoding[] => {
    const name = token ?? padTokenOf(json, config);
    const id = name === undefined ? undefined : tokenToId(name);
    if (name === undefined || id === undefined)
      throw new ArgumentError(
        name === undefined
          ? "Padding needs a token, and this tokenizer names none: give padding.token, one of its special tokens."
          : `The pad token ${JSON.stringify(name)} is not in the vocabulary.`,
      );
    let wanted = length === "longest" ? encodings.reduce((most, { ids }) => Math.max(most, ids.length), 0) : length;
    if (multipleOf !== undefined) wanted = Math.ceil(wanted / multipleOf) * multipleOf;
    return encodings.map((encoding) => padded(encoding, wanted, { id, token: name, typeId: 0 }, direction));
  };

  const tokenizeBatch = (inputs: readonly TokenizerInput[], options: TokenizeOptions = {}): Encoding[] => {
    const encodings = inputs.map((input) => unpadded(input, options));
    return options.padding ? pad(encodings, options.padding) : encodings;
  };

  return {
    tokenize: (input: TokenizerInput, options: TokenizeOptions = {}): Encoding => tokenizeBatch([input], options)[0] as Encoding,
    tokenizeBatch,
  };
}

/** What `tokenizer_config.json` says of texts for which nothing else is said. */
export const splitsSpecialTokens = (config: TokenizerConfig): boolean => config.split_special_tokens === true;

/** The pad token that `tokenizer_config.json` or `tokenizer.json` names. */
function padTokenOf(json: TokenizerJson, config: TokenizerConfig): string | undefined {
  const named = config.pad_token;
  if (typeof named === "string") return named;
  if (typeof named === "object" && named !== null && "content" in named) return String(named.content);
  const padding = json.padding as { pad_token?: unknown } | null | undefined;
  if (typeof padding?.pad_token === "string") return padding.pad_token;
  return ["[PAD]", "<pad>"].find((token) => json.added_tokens.some(({ content }) => content === token));
}

/** Leaves room for `added` tokens around the texts. */
function truncatedTogether(encodings: readonly Encoding[], truncation: Truncation, added: number): readonly Encoding[] {
  const { maxLength, stride = 0, of = "longest" } = truncation;
  const room = maxLength - added;
  if (!Number.isInteger(maxLength) || room < 0)
    throw new ArgumentError(
      `maxLength is ${maxLength}, but it must be a whole number, and ${added} tokens are added around the text.`,
    );
  const lengths = encodings.map(({ ids }) => ids.length);
  const [first = 0, second = 0] = lengths;
  if (first + second <= room) return encodings;
  const cut = (targets: readonly number[]) =>
    encodings.map((encoding, i) => {
      const target = targets[i] as number;
      if (target < encoding.ids.length && target > 0 && stride >= target)
        throw new ArgumentError(`A stride of ${stride} does not fit windows of ${target} tokens; it must be smaller.`);
      return truncated(encoding, target, truncation);
    });
  if (encodings.length === 1) return cut([room]);
  if (of === "longest") {
    // As in Rust: the shorter text stays whole where both fit so, otherwise each gets half.
    const shorter = Math.min(first, second);
    const longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
    const [less, more] = shorter + longer > room ? [room >> 1, room - (room >> 1)] : [shorter, longer];
    return cut(first <= second ? [less, more] : [more, less]);
  }
  const index = of === "first" ? 0 : 1;
  const target = (lengths[index] as number) - (first + second - room);
  if (target <= 0)
    throw new ArgumentError(
      `The ${of} text has ${lengths[index]} tokens, too few to cut both texts down to ${room}: choose of: "longest" or a larger maxLength.`,
    );
  return cut(lengths.map((length, i) => (i === index ? target : length)));
}
