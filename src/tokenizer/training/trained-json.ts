/** From what was learned to a `tokenizer.json` and a `tokenizer_config.json`. */

import type { TokenizerConfig } from "../tokenizer.js";
import type { AddedToken, Stage, TokenizerJson } from "../tokenizer-json.js";
import type { BytePairVocabulary } from "./bpe.js";
import type { Preset, PresetToken } from "./presets.js";
import type { UnigramVocabulary } from "./unigram.js";

/** Tokens that are found in texts as they are. */
export const addedToken = ({ content, special }: PresetToken, id: number): AddedToken => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

// fromEntries defines "__proto__" as an ordinary key, assignment would not.
const vocabOf = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));

export function bytePairModel({ tokens, merges }: BytePairVocabulary, options: Preset["modelOptions"]): TokenizerJson["model"] {
  return {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...options,
    vocab: vocabOf(tokens),
    merges: merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`),
  };
}

export const wordPieceModelJson = ({ tokens }: BytePairVocabulary, options: Preset["modelOptions"]): TokenizerJson["model"] => ({
  type: "WordPiece",
  ...options,
  vocab: vocabOf(tokens),
});

export const unigramModelJson = (
  { pieces, unknownId }: UnigramVocabulary,
  options: Preset["modelOptions"],
): TokenizerJson["model"] => ({
  type: "Unigram",
  unk_id: unknownId,
  ...options,
  vocab: pieces.map(([token, score]): [string, number] => [token, score]),
});

/** A vocabulary of code points: BPE that never merges, on one character at a time. */
export function characterTokenizerJson(tokens: readonly string[], added: readonly AddedToken[]): TokenizerJson {
  const preTokenizer: Stage = { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false };
  return assembled({
    added,
    normalizer: null,
    preTokenizer,
    postProcessor: null,
    decoder: { type: "Fuse" },
    model: bytePairModel({ tokens, merges: [], leftOut: [] }, {}),
  });
}

interface Parts {
  readonly added: readonly AddedToken[];
  readonly normalizer: Stage | null;
  readonly preTokenizer: Stage | null;
  readonly postProcessor: Stage | null;
  readonly decoder: Stage | null;
  readonly model: TokenizerJson["model"];
}

export const assembled = ({ added, normalizer, preTokenizer, postProcessor, decoder, model }: Parts): TokenizerJson => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [...added],
  normalizer,
  pre_tokenizer: preTokenizer,
  post_processor: postProcessor,
  decoder,
  model,
});

/** Special tokens that end texts by their names. */
const endsOfText = ["<|endoftext|>", "<|end_of_text|>", "</s>"];

/** Without a preset that says so, a special token that is spelled like an end of text is one. */
function endOfText(added: readonly AddedToken[], config: Preset["config"]): { eos_token?: string } {
  const known = endsOfText.find((end) => added.some(({ content, special }) => special && content === end));
  return known === undefined || "eos_token" in config ? {} : { eos_token: known };
}

export const trainedConfig = (added: readonly AddedToken[], config: Preset["config"]): TokenizerConfig => ({
  tokenizer_class: "PreTrainedTokenizerFast",
  clean_up_tokenization_spaces: false,
  ...endOfText(added, config),
  ...config,
  ...(added.length > 0 && {
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [String(id), token])),
  }),
});
