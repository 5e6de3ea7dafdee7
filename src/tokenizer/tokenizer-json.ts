/** `tokenizer.json`, the file of Hugging Face's tokenizers: the parts that are read here, and the two kinds that are written. */

import { z } from "zod";
import { TsumikiError } from "../errors.js";
import { characterPattern } from "./pretokenize.js";

const addedToken = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
  special: z.boolean().default(false),
});

const stage = z.looseObject({ type: z.string() }).nullable().default(null);

const tokenizerJson = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  normalizer: stage,
  pre_tokenizer: stage,
  post_processor: stage,
  decoder: stage,
  model: z.looseObject({
    type: z.string().optional(),
    vocab: z.union([z.record(z.string(), z.int()), z.array(z.tuple([z.string(), z.number()]))]),
  }),
});

export type TokenizerJson = z.infer<typeof tokenizerJson>;
export type AddedToken = z.infer<typeof addedToken>;
/** Normalizer, pre-tokenizer, post-processor or decoder: a `type` and its options. */
export type Stage = NonNullable<z.infer<typeof stage>>;

/** Checks that `value` is a `tokenizer.json`; `source` is named when it is not. */
export function parseTokenizerJson(value: unknown, source: string): TokenizerJson {
  const result = tokenizerJson.safeParse(value);
  if (result.success) return result.data;
  throw new TsumikiError(
    "TOKENIZER",
    `${source} is not a tokenizer.json of Hugging Face's tokenizers:\n${z.prettifyError(result.error)}`,
  );
}

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

/** Byte-level BPE as GPT-2 has it. `tokens` by id, the special ones first. */
export function byteLevelBpeJson(
  tokens: readonly string[],
  merges: readonly (readonly [number, number])[],
  specialTokens: readonly string[],
): TokenizerJson {
  const pairs = merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`);
  return bpeJson(tokens, pairs, specialTokens, { preTokenizer: byteLevel, decoder: byteLevel });
}

/** A vocabulary of code points: BPE that never merges, on one character at a time. */
export function characterJson(tokens: readonly string[], specialTokens: readonly string[]): TokenizerJson {
  const preTokenizer = { type: "Split", pattern: { Regex: characterPattern.source }, behavior: "Isolated", invert: false };
  return bpeJson(tokens, [], specialTokens, { preTokenizer, decoder: { type: "Fuse" } });
}

function bpeJson(
  tokens: readonly string[],
  merges: readonly string[],
  specialTokens: readonly string[],
  { preTokenizer, decoder }: { preTokenizer: Stage; decoder: Stage },
): TokenizerJson {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({ id, content, ...plain })),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      // fromEntries defines "__proto__" as an ordinary key, assignment would not.
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
