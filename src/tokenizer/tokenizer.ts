/** Text to token ids and back. */

import { writeTokenizerFiles } from "#platform/tokenizer/files";
import { ArgumentError, TsumikiError } from "../errors.js";
import { namedRandom } from "../graph/random.js";
import { createDecodeStream, type DecodeStream } from "./decode-stream.js";
import type { Encoding, Padding, Truncation } from "./encoding.js";
import { createModel } from "./models/index.js";
import type { Segmentation } from "./models/unigram.js";
import { roleIdsOf, type TokenRole, withNamedTokens } from "./named-tokens.js";
import { createDecoder } from "./pipeline/decoders.js";
import { createTextEncoding } from "./pipeline/encoder.js";
import { createNormalizer, type Normalizer, normalizedText } from "./pipeline/normalizers.js";
import { createTokenization, splitsSpecialTokens } from "./tokenization.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

export interface DecodeOptions {
  /** Leaves special tokens out of the text. They are kept otherwise. */
  skipSpecialTokens?: boolean;
}

export interface DecodeStreamOptions extends DecodeOptions {
  /** Ids that the stream continues, those of a prompt for example: their text and what the stream gives are the decoding of all. */
  after?: ArrayLike<number>;
}

/** A text, or two that belong together (a question and its context, a premise and a hypothesis). */
export type TokenizerInput = string | readonly [first: string, second: string];

export interface EncodeOptions {
  /**
   * Encodes the spelling of special tokens as text, as for what strangers wrote: `<|im_end|>` in it then ends nothing. Other added tokens
   * stay whole. Default: what `split_special_tokens` in `tokenizer_config.json` says, otherwise false.
   */
  splitSpecialTokens?: boolean;
}

export interface TokenizeOptions extends EncodeOptions {
  /** Adds what the tokenizer puts around texts, `[CLS]` and `[SEP]` for example. Default true. */
  addSpecialTokens?: boolean;
  truncation?: Truncation;
  /** In `tokenizeBatch`, "longest" is the longest of the batch. */
  padding?: Padding;
}

export interface SampleOptions extends EncodeOptions {
  /** Sharpens (above 1) or flattens (below 1) the distribution over segmentations. Kudo (2018) uses 0.1 to 0.5. */
  alpha: number;
  /** Draws from the best so many segmentations of each piece; default: from all. */
  count?: number;
  /** Equal seeds give equal segmentations. */
  seed: number;
}

export interface Tokenizer {
  /** One more than the largest id: the rows that a model's embedding needs. */
  readonly vocabSize: number;
  /** Tokens such as `<|endoftext|>` that stand for themselves wherever they occur in a text. */
  readonly specialTokens: readonly string[];
  /** The ids of tokens with a role, as `tokenizer_config.json` names them: `roleIds.eos` ends a text. */
  readonly roleIds: Readonly<Partial<Record<TokenRole, number>>>;
  /**
   * The ids of `text`, without the begin and end tokens that some tokenizers add around a prompt.
   * @throws TsumikiError TOKENIZER for a character that the vocabulary does not have, where it has no token for unknown ones
   */
  encode(text: string, options?: EncodeOptions): Int32Array;
  encodeBatch(texts: readonly string[], options?: EncodeOptions): Int32Array[];
  /** The ids with all that can be said about them: spellings, places in the text, masks. */
  tokenize(input: TokenizerInput, options?: TokenizeOptions): Encoding;
  /** @throws TsumikiError ARGUMENT where padding is asked for and the tokenizer has no pad token and none is given */
  tokenizeBatch(inputs: readonly TokenizerInput[], options?: TokenizeOptions): Encoding[];
  /**
   * Ids of a segmentation drawn at random, for subword regularization (Kudo 2018). Unigram tokenizers only.
   * @throws TsumikiError TOKENIZER for other tokenizers
   */
  encodeSampled(text: string, options: SampleOptions): Int32Array;
  /** The most probable segmentations of one piece (`▁unbelievable`), the best first. Unigram tokenizers only. */
  segmentations(piece: string, count: number): Segmentation[];
  /** The text of `ids`. Bytes that are no UTF-8 become U+FFFD; an id without a token stands for nothing, as in `transformers`. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  decodeBatch(batch: readonly ArrayLike<number>[], options?: DecodeOptions): string[];
  /** Decodes ids as they come, in whole characters. */
  decodeStream(options?: DecodeStreamOptions): DecodeStream;
  /** Bytes of UTF-8 that `ids` stand for: what bits per byte are counted in. */
  byteLength(ids: ArrayLike<number>): number;
  /** The id of a token as the vocabulary spells it (byte-level: `Ġthe`). */
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** Writes `tokenizer.json` and `tokenizer_config.json`, which Python's `tokenizers` and `transformers` open, into a folder. */
  save(directory: string): Promise<void>;
  /** The content of `tokenizer.json`. */
  toJSON(): TokenizerJson;
  /** The content of `tokenizer_config.json`: names of special tokens, the chat template. */
  readonly config: TokenizerConfig;
}

/** The content of `tokenizer_config.json`. */
export type TokenizerConfig = Readonly<Record<string, unknown>>;

export const defaultConfig: TokenizerConfig = { tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false };

/**
 * A tokenizer from the content of a `tokenizer.json` of Hugging Face's tokenizers, whatever its model. Tokens that only `config` names
 * (`eos_token`, `added_tokens_decoder`, ...) are added to it.
 */
export function tokenizerFromJson(content: unknown, config: TokenizerConfig = defaultConfig): Tokenizer {
  const json = withNamedTokens(parseTokenizerJson(content, "The given object"), config);
  const { model, unigram } = createModel(json);
  const normalize: Normalizer = json.normalizer ? createNormalizer(json.normalizer) : (source) => source;
  const texts = createTextEncoding(json, model, normalize);
  const join = createDecoder(json.decoder);
  // As in Rust, tokens that are found in the normalized text are written so, too.
  const added = new Map(
    json.added_tokens.map(({ id, content: token, normalized }) => [id, normalized ? normalizedText(normalize, token) : token]),
  );
  const addedIds = new Map(json.added_tokens.map(({ content: token, id }) => [token, id]));
  const specialTokens = json.added_tokens.filter((token) => token.special).map((token) => token.content);
  const specialSpellings = new Set(specialTokens);
  const vocabSize = json.added_tokens.reduce((size, { id }) => Math.max(size, id + 1), model.size);
  const idToToken = (id: number) => added.get(id) ?? model.idToToken(id);
  const tokenToId = (token: string) => addedIds.get(token) ?? model.tokenToId(token);
  const { tokenize, tokenizeBatch } = createTokenization(json, texts, { idToToken, tokenToId, config });

  const encode = (text: string, { splitSpecialTokens = splitsSpecialTokens(config) }: EncodeOptions = {}) =>
    texts.encode(text, splitSpecialTokens);

  const decode = (ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string => {
    const tokens: string[] = [];
    for (let i = 0; i < ids.length; i++) {
      const token = idToToken(ids[i] as number);
      if (token !== undefined && !(skipSpecialTokens && specialSpellings.has(token))) tokens.push(token);
    }
    return tokens.length === 0 ? "" : join(tokens);
  };

  const needUnigram = () => {
    if (unigram) return unigram;
    throw new TsumikiError(
      "TOKENIZER",
      `Segmentations can be drawn from Unigram tokenizers, but this one's model is ${json.model.type ?? "another"}. Train one with model: "unigram".`,
    );
  };

  return {
    vocabSize,
    specialTokens,
    roleIds: roleIdsOf(config, tokenToId),
    config,
    encode,
    encodeBatch: (batch, options) => batch.map((text) => encode(text, options)),
    tokenize,
    tokenizeBatch,
    encodeSampled(text, { alpha, count, seed, splitSpecialTokens = splitsSpecialTokens(config) }) {
      const { sample } = needUnigram();
      if (!(alpha >= 0)) throw new ArgumentError(`alpha is at least 0, but ${alpha} was given.`);
      const { uniform: random } = namedRandom(seed, "tokenizer.sample");
      return texts.encodeWith(text, splitSpecialTokens, (piece, tokens) => {
        const { ids, ends } = sample(piece, { alpha, random, ...(count === undefined ? {} : { count }) });
        ids.forEach((id, i) => void tokens.push(id, ends[i] as number));
      });
    },
    segmentations: (piece, count) => needUnigram().nBest(piece, count),
    decode,
    decodeBatch: (batch, options) => batch.map((ids) => decode(ids, options)),
    decodeStream: ({ after, ...options } = {}) => createDecodeStream((ids) => decode(ids, options), after),
    byteLength(ids) {
      if (json.decoder?.type !== "ByteLevel") return utf8Length(decode(ids));
      // Exact where the ids begin or end inside a character too: each visible character of a byte-level token is a byte.
      let bytes = 0;
      for (let i = 0; i < ids.length; i++) {
        const token = idToToken(ids[i] as number) ?? "";
        bytes += added.has(ids[i] as number) ? utf8Length(token) : token.length;
      }
      return bytes;
    },
    tokenToId,
    idToToken,
    save: (directory) => writeTokenizerFiles(directory, json, config),
    toJSON: () => json,
  };
}

const utf8Length = (text: string): number => new TextEncoder().encode(text).length;
