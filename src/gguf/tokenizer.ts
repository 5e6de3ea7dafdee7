/** Tokenizers inside GGUF files: byte-level BPE, which llama.cpp calls "gpt2" whoever's it is. */

import { TsumikiError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { tokenizerFromJson } from "../tokenizer/tokenizer.js";
import { parseTokenizerJson, type TokenizerJson } from "../tokenizer/tokenizer-json.js";

export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** How a text is split into words before it is tokenized: llama.cpp knows these by name, `tokenizer.json` by expression. */
const splits: Readonly<Record<string, string>> = {
  "llama-bpe":
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

export interface GgufTokenizer {
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly merges: readonly string[];
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  readonly addBos: boolean;
  readonly chatTemplate?: string;
}

interface ByteLevelStage {
  readonly type: string;
  readonly add_prefix_space?: boolean;
  readonly use_regex?: boolean;
  readonly pretokenizers?: readonly ByteLevelStage[];
  readonly pattern?: { readonly Regex?: string };
}

/**
 * What a file holds of a tokenizer.
 *
 * @param vocabSize rows of the model's embedding: further ids are filled up with tokens that nothing becomes
 * @throws TsumikiError TOKENIZER for one that is not byte-level BPE with a split that llama.cpp knows
 */
export function ggufTokenizer(tokenizer: Tokenizer, vocabSize: number): GgufTokenizer {
  const json = tokenizer.toJSON();
  const { vocab, merges, type } = json.model as unknown as {
    vocab: Record<string, number>;
    merges?: readonly (string | readonly string[])[];
    type?: string;
  };
  if ((type !== undefined && type !== "BPE") || Array.isArray(vocab)) throw notByteLevel("its model is not BPE");
  const pre = splitName(json.pre_tokenizer as ByteLevelStage | null);
  if (tokenizer.vocabSize > vocabSize)
    throw new TsumikiError("TOKENIZER", `The tokenizer has ${tokenizer.vocabSize} tokens, but the model has ${vocabSize}.`);
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`);
  const types: number[] = Array.from({ length: vocabSize }, () => tokenTypes.unused);
  for (const [token, id] of Object.entries(vocab)) [tokens[id], types[id]] = [token, tokenTypes.normal];
  for (const { id, content, special } of json.added_tokens)
    [tokens[id], types[id]] = [content, special ? tokenTypes.control : tokenTypes.userDefined];
  const { config } = tokenizer;
  const idOf = (name: string): number | undefined => {
    const token = config[name];
    const text = typeof token === "object" && token !== null ? (token as { content?: unknown }).content : token;
    return typeof text === "string" ? tokenizer.tokenToId(text) : undefined;
  };
  const ids = { bosId: idOf("bos_token"), eosId: idOf("eos_token"), padId: idOf("pad_token") };
  return {
    ...{ pre, tokens, types },
    merges: (merges ?? []).map((merge) => (typeof merge === "string" ? merge : merge.join(" "))),
    ...(Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== undefined)) as Partial<GgufTokenizer>),
    addBos: config.add_bos_token === true,
    ...(typeof config.chat_template === "string" ? { chatTemplate: config.chat_template } : {}),
  };
}

function splitName(stage: ByteLevelStage | null): string {
  const stages = stage?.type === "Sequence" ? (stage.pretokenizers ?? []) : stage ? [stage] : [];
  const byteLevel = stages.at(-1);
  if (byteLevel?.type !== "ByteLevel") throw notByteLevel("it does not go by bytes");
  if (byteLevel.add_prefix_space) throw notByteLevel("it puts a space before each text, which llama.cpp does not");
  if (stages.length === 1 && byteLevel.use_regex !== false) return "gpt-2";
  const pattern = stages.length === 2 && stages[0]?.type === "Split" ? stages[0].pattern?.Regex : undefined;
  const name = Object.keys(splits).find((known) => splits[known] === pattern);
  if (name !== undefined && byteLevel.use_regex === false) return name;
  throw notByteLevel(
    `it splits texts in a way that llama.cpp has no name for; it has for those of GPT-2, ${Object.keys(splits).join(", ")}`,
  );
}

const notByteLevel = (why: string): TsumikiError =>
  new TsumikiError(
    "TOKENIZER",
    `This tokenizer cannot be written as GGUF: ${why}. Byte-level BPE can, as GPT-2, Llama 3 and Qwen 2 have it.`,
  );

/** The tokenizer of a file, as a `tokenizer.json` and the entries of its `tokenizer_config.json`. */
export function tokenizerFromGguf(gguf: GgufTokenizer, source: string): Tokenizer {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const pattern = splits[gguf.pre];
  if (gguf.pre !== "gpt-2" && gguf.pre !== "default" && pattern === undefined)
    throw new TsumikiError(
      "TOKENIZER",
      `${source} splits texts as ${JSON.stringify(gguf.pre)}; known are gpt-2, ${Object.keys(splits).join(", ")}.`,
    );
  const isAdded = (id: number): boolean => gguf.types[id] === tokenTypes.control || gguf.types[id] === tokenTypes.userDefined;
  const kept = gguf.tokens.flatMap((token, id): [string, number][] =>
    gguf.types[id] === tokenTypes.unused ? [] : [[token, id]],
  );
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const json: TokenizerJson = parseTokenizerJson(
    {
      version: "1.0",
      added_tokens: kept.flatMap(([content, id]) =>
        isAdded(id) ? [{ id, content, ...plain, special: gguf.types[id] === tokenTypes.control }] : [],
      ),
      normalizer: null,
      pre_tokenizer: pattern
        ? {
            type: "Sequence",
            pretokenizers: [
              { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
              { ...byteLevel, use_regex: false },
            ],
          }
        : { ...byteLevel, use_regex: true },
      post_processor: null,
      decoder: { ...byteLevel, use_regex: true },
      model: {
        ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
        ...{ fuse_unk: false, byte_fallback: false, ignore_merges: gguf.pre === "llama-bpe" },
        vocab: Object.fromEntries(kept),
        merges: [...gguf.merges],
      },
    },
    source,
  );
  const names = { bos_token: gguf.bosId, eos_token: gguf.eosId, pad_token: gguf.padId };
  const special = Object.entries(names).flatMap(([name, id]) => (id === undefined ? [] : [[name, gguf.tokens[id]]]));
  return tokenizerFromJson(json, {
    ...{ tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false, add_bos_token: gguf.addBos },
    ...Object.fromEntries(special),
    ...(gguf.chatTemplate === undefined ? {} : { chat_template: gguf.chatTemplate }),
  });
}
