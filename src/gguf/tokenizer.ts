/** Tokenizers inside GGUF files, as a `tokenizer.json` and the entries of its `tokenizer_config.json`. */

import { TsumikiError } from "../errors.js";
import { templatesOf } from "../tokenizer/chat-templates.js";
import { type Tokenizer, tokenizerFromJson } from "../tokenizer/tokenizer.js";
import { parseTokenizerJson, type TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { byteLevelJson, byteLevelOf } from "./byte-level.js";
import { type GgufTokenizer, tokenTypes } from "./gguf-tokenizer.js";
import { isSentencePiece, sentencePieceJson, sentencePieceOf } from "./sentencepiece.js";
import { isUnigram, unigramJson, unigramOf } from "./unigram.js";

/**
 * What a file holds of a tokenizer.
 *
 * @param vocabSize rows of the model's embedding: further ids are filled up with tokens that nothing becomes
 * @throws TsumikiError TOKENIZER for one that is neither byte-level BPE with a split that llama.cpp knows nor SentencePiece's
 */
export function ggufTokenizer(tokenizer: Tokenizer, vocabSize: number): GgufTokenizer {
  const json = tokenizer.toJSON();
  const { byteIds = [], ...kind } = kindOf(json, vocabSize);
  if (tokenizer.vocabSize > vocabSize)
    throw new TsumikiError("TOKENIZER", `The tokenizer has ${tokenizer.vocabSize} tokens, but the model has ${vocabSize}.`);
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`);
  const types: number[] = Array.from({ length: vocabSize }, () => tokenTypes.unused);
  for (const [token, id] of vocabularyOf(json)) [tokens[id], types[id]] = [token, tokenTypes.normal];
  for (const id of byteIds) types[id] = tokenTypes.byte;
  for (const { id, content, special } of json.added_tokens)
    [tokens[id], types[id]] = [content, special ? tokenTypes.control : tokenTypes.userDefined];
  const ids = specialIds(tokenizer);
  if (ids.unknownId !== undefined) types[ids.unknownId] = tokenTypes.unknown;
  const chatTemplate = templatesOf(tokenizer.config).get("default"); // the others have no place in a file
  return {
    ...kind,
    tokens,
    types,
    ...ids,
    ...addedAround(tokenizer, ids),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}

function kindOf(json: TokenizerJson, vocabSize: number): Kind & { readonly byteIds?: readonly number[] } {
  if (isUnigram(json)) return { pre: "default", ...unigramOf(json, vocabSize) };
  return isSentencePiece(json) ? { pre: "default", ...sentencePieceOf(json, vocabSize) } : byteLevelOf(json);
}

/** What is not the same for all tokenizers. */
type Kind = Pick<GgufTokenizer, "model" | "pre" | "merges" | "scores" | "spacePrefix" | "mergesSpaces" | "charsmap">;

const vocabularyOf = ({ model: { vocab } }: TokenizerJson): readonly (readonly [token: string, id: number])[] =>
  Array.isArray(vocab) ? vocab.map(([token], id) => [token, id] as const) : Object.entries(vocab);

type SpecialIds = Pick<GgufTokenizer, "bosId" | "eosId" | "padId" | "unknownId">;

function specialIds(tokenizer: Tokenizer): SpecialIds {
  const { unk_token: unknown, unk_id: unknownId } = tokenizer.toJSON().model as { unk_token?: unknown; unk_id?: number | null };
  const idOf = (token: unknown): number | undefined => {
    const text = typeof token === "object" && token !== null ? (token as { content?: unknown }).content : token;
    return typeof text === "string" ? tokenizer.tokenToId(text) : undefined;
  };
  const { bos_token, eos_token, pad_token } = tokenizer.config;
  const ids = { bosId: idOf(bos_token), eosId: idOf(eos_token), padId: idOf(pad_token), unknownId: unknownId ?? idOf(unknown) };
  return Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== undefined));
}

/** Which tokens are put around a prompt: what the tokenizer does, or says that it did. */
function addedAround(tokenizer: Tokenizer, { bosId, eosId }: SpecialIds): Pick<GgufTokenizer, "addBos" | "addEos"> {
  const { ids, specialTokensMask } = tokenizer.tokenize("");
  const added = ids.filter((_, i) => specialTokensMask[i] === 1);
  const { add_bos_token: bos, add_eos_token: eos } = tokenizer.config;
  if (added.length === 0) return { addBos: bosId !== undefined && bos === true, addEos: eosId !== undefined && eos === true };
  return { addBos: added[0] === bosId, addEos: added.at(-1) === eosId && (eosId !== bosId || added.length > 1) };
}

/** The tokenizer of a file. */
export function tokenizerFromGguf(gguf: GgufTokenizer, source: string): Tokenizer {
  const { tokens, types, bosId, eosId, padId, unknownId } = gguf;
  const special = (id: number): boolean => types[id] === tokenTypes.control || types[id] === tokenTypes.unknown;
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const json: TokenizerJson = parseTokenizerJson(
    {
      version: "1.0",
      added_tokens: tokens.flatMap((content, id) =>
        special(id) || types[id] === tokenTypes.userDefined ? [{ id, content, ...plain, special: special(id) }] : [],
      ),
      post_processor: templateOf(gguf),
      ...(gguf.model === "llama"
        ? sentencePieceJson(gguf)
        : gguf.model === "t5"
          ? unigramJson(gguf)
          : byteLevelJson(gguf, source)),
    },
    source,
  );
  const names = { bos_token: bosId, eos_token: eosId, pad_token: padId, unk_token: unknownId };
  const named = Object.entries(names).flatMap(([name, id]) => (id === undefined ? [] : [[name, tokens[id]]]));
  return tokenizerFromJson(json, {
    ...{ tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false },
    ...{ add_bos_token: gguf.addBos, add_eos_token: gguf.addEos },
    ...Object.fromEntries(named),
    ...(gguf.chatTemplate === undefined ? {} : { chat_template: gguf.chatTemplate }),
  });
}

/** The post-processor that puts tokens around a text. */
function templateOf({ tokens, bosId, eosId, addBos, addEos }: GgufTokenizer): object | null {
  const [before, after] = [addBos ? bosId : undefined, addEos ? eosId : undefined];
  const around = [before, after].filter((id) => id !== undefined);
  if (around.length === 0) return null;
  const piece = (id: number | undefined, type_id: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id] as string, type_id } }];
  const sequence = (id: "A" | "B", type_id: number) => [
    ...piece(before, type_id),
    { Sequence: { id, type_id } },
    ...piece(after, type_id),
  ];
  return {
    type: "TemplateProcessing",
    single: sequence("A", 0),
    pair: [...sequence("A", 0), ...sequence("B", 1)],
    special_tokens: Object.fromEntries(
      around.map((id) => {
        const token = tokens[id] as string;
        return [token, { id: token, ids: [id], tokens: [token] }];
      }),
    ),
  };
}
