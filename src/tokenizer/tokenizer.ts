/** Text to token ids and back. */

import { writeTokenizerFiles } from "#platform/tokenizer/files";
import { createDecodeStream, type DecodeStream } from "./decode-stream.js";
import { createEncoder } from "./encode.js";
import { libraryTokenizer } from "./library.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

export interface DecodeOptions {
  /** Leaves special tokens out of the text. They are kept otherwise. */
  skipSpecialTokens?: boolean;
}

export interface Tokenizer {
  /** One more than the largest id: the rows that a model's embedding needs. */
  readonly vocabSize: number;
  /** Tokens such as `<|endoftext|>` that stand for themselves wherever they occur in a text. */
  readonly specialTokens: readonly string[];
  /**
   * The ids of `text`, without the begin and end tokens that some tokenizers add around a prompt.
   * @throws TsumikiError TOKENIZER where a character tokenizer meets a character that it does not know
   */
  encode(text: string): Int32Array;
  /** The text of `ids`. Bytes that are no UTF-8 become U+FFFD; an id without a token stands for nothing, as in `transformers`. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Decodes ids as they come, in whole characters. */
  decodeStream(options?: DecodeOptions): DecodeStream;
  /** Bytes of UTF-8 that `ids` stand for: what bits per byte are counted in. */
  byteLength(ids: ArrayLike<number>): number;
  /** The id of a token as the vocabulary spells it (byte-level: `Ġthe`). */
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** Writes `tokenizer.json` and `tokenizer_config.json`, which Python's `tokenizers` and `transformers` open, into a folder. */
  save(directory: string): Promise<void>;
  /** The content of `tokenizer.json`. */
  toJSON(): TokenizerJson;
}

/** The content of `tokenizer_config.json`. */
export type TokenizerConfig = Readonly<Record<string, unknown>>;

const defaultConfig: TokenizerConfig = { tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false };

/** A tokenizer from the content of a `tokenizer.json` of Hugging Face's tokenizers, whatever its model. */
export function tokenizerFromJson(content: unknown, config: TokenizerConfig = defaultConfig): Tokenizer {
  const json = parseTokenizerJson(content, "The given object");
  const library = libraryTokenizer(json, config);
  const encode = createEncoder(json, (text) => library.encode(text, { add_special_tokens: false }).ids);
  const vocabSize = sizeOf(json);
  const added = new Map(json.added_tokens.map((token) => [token.id, token]));
  const specialTokens = json.added_tokens.filter(({ special }) => special).map(({ content }) => content);

  const decode = (ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string => {
    const known = Array.from(ids).filter(
      (id) => library.id_to_token(id) !== undefined && !(skipSpecialTokens && added.get(id)?.special),
    );
    return known.length === 0 ? "" : library.decode(known); // the library refuses an empty list
  };

  return {
    vocabSize,
    specialTokens,
    encode,
    decode,
    decodeStream: (options) => createDecodeStream((ids) => decode(ids, options)),
    byteLength(ids) {
      if (json.decoder?.type !== "ByteLevel") return utf8Length(decode(ids));
      // Exact where the ids begin or end inside a character too: each visible character of a byte-level token is a byte.
      let bytes = 0;
      for (let i = 0; i < ids.length; i++) {
        const token = library.id_to_token(ids[i] as number) ?? "";
        bytes += added.has(ids[i] as number) ? utf8Length(token) : token.length;
      }
      return bytes;
    },
    tokenToId: (token) => library.token_to_id(token),
    idToToken: (id) => library.id_to_token(id),
    save: (directory) => writeTokenizerFiles(directory, json, config),
    toJSON: () => json,
  };
}

function sizeOf({ model: { vocab }, added_tokens }: TokenizerJson): number {
  const modelIds = Array.isArray(vocab) ? [vocab.length - 1] : Object.values(vocab);
  return [...modelIds, ...added_tokens.map(({ id }) => id)].reduce((largest, id) => Math.max(largest, id), -1) + 1;
}

const utf8Length = (text: string): number => new TextEncoder().encode(text).length;
