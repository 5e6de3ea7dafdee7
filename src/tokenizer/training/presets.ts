/** The pipelines around the models of tokenizers that are in wide use, with their special tokens. */

import { ArgumentError } from "../../errors.js";
import { llama3Pattern, qwenPattern } from "../pipeline/scanners.js";
import type { Stage } from "../tokenizer-json.js";

export const presetNames = ["gpt2", "llama3", "qwen", "bert", "t5", "minimind"] as const;
export type PresetName = (typeof presetNames)[number];

export const trainableModels = ["bpe", "wordpiece", "unigram", "character"] as const;
export type TrainableModel = (typeof trainableModels)[number];

export interface PresetToken {
  readonly content: string;
  /** Left out when a text is decoded for people. */
  readonly special: boolean;
}

export interface Preset {
  readonly model: TrainableModel;
  /** Pieces are sequences of bytes. */
  readonly byteLevel: boolean;
  readonly normalizer: Stage | null;
  readonly preTokenizer: Stage | null;
  readonly decoder: Stage | null;
  /** What stands around texts, from the ids of the tokens in it. */
  readonly postProcessor: (idOf: (token: string) => number) => Stage | null;
  readonly tokens: readonly PresetToken[];
  /** Whether their ids come before or after those that are learned. */
  readonly tokensStand: "first" | "last";
  /** Further keys of `model` in tokenizer.json. */
  readonly modelOptions: Readonly<Record<string, unknown>>;
  /** `tokenizer_config.json`, as far as it is not the same for all. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The vocabulary that the real model has. */
  readonly vocabSize: number;
}

const special = (...tokens: string[]): PresetToken[] => tokens.map((content) => ({ content, special: true }));
const plain = (...tokens: string[]): PresetToken[] => tokens.map((content) => ({ content, special: false }));

const byteLevel = (options: Readonly<Record<string, boolean>> = {}): Stage => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
  ...options,
});

const splitAndBytes = (pattern: string): Stage => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
    byteLevel({ trim_offsets: true, use_regex: false }),
  ],
});

/** `[CLS] $A [SEP] $B [SEP]` and the like; `$B:1` has type 1. */
function template(single: string, pair: string, idOf: (token: string) => number): Stage {
  const used = new Set<string>();
  const items = (text: string) =>
    text.split(" ").map((item) => {
      const [name = "", type = "0"] = item.split(/:(?=\d$)/);
      if (name === "$A" || name === "$B") return { Sequence: { id: name.slice(1), type_id: Number(type) } };
      used.add(name);
      return { SpecialToken: { id: name, type_id: Number(type) } };
    });
  const [forOne, forTwo] = [items(single), items(pair)];
  const special_tokens = Object.fromEntries(
    [...used].map((token) => [token, { id: token, ids: [idOf(token)], tokens: [token] }]),
  );
  return { type: "TemplateProcessing", single: forOne, pair: forTwo, special_tokens };
}

/** Byte-level BPE without special tokens: encodes any text as it is. */
export const plainBytes: Preset = {
  model: "bpe",
  byteLevel: true,
  normalizer: null,
  preTokenizer: byteLevel(),
  decoder: byteLevel(),
  postProcessor: () => null,
  tokens: [],
  tokensStand: "first",
  modelOptions: {},
  config: {},
  vocabSize: 6400,
};

/** BPE over characters, with a mark at the end of words (Sennrich et al. 2016). */
export const plainCharacters: Preset = {
  model: "bpe",
  byteLevel: false,
  normalizer: null,
  preTokenizer: { type: "WhitespaceSplit" },
  decoder: { type: "BPEDecoder", suffix: "</w>" },
  postProcessor: () => null,
  tokens: special("<unk>"),
  tokensStand: "first",
  modelOptions: { unk_token: "<unk>", end_of_word_suffix: "</w>" },
  config: { unk_token: "<unk>" },
  vocabSize: 10_000,
};

export const presets: Readonly<Record<PresetName, Preset>> = {
  gpt2: {
    ...plainBytes,
    postProcessor: () => byteLevel({ add_prefix_space: true, trim_offsets: false }),
    decoder: byteLevel({ add_prefix_space: true }),
    tokens: special("<|endoftext|>"),
    tokensStand: "last",
    config: { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", unk_token: "<|endoftext|>", model_max_length: 1024 },
    vocabSize: 50_257,
  },
  llama3: {
    ...plainBytes,
    preTokenizer: splitAndBytes(llama3Pattern),
    decoder: byteLevel({ add_prefix_space: true }),
    postProcessor: (idOf) => ({
      type: "Sequence",
      processors: [
        byteLevel({ add_prefix_space: true, trim_offsets: false }),
        template("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", idOf),
      ],
    }),
    tokens: special(
      "<|begin_of_text|>",
      "<|end_of_text|>",
      "<|reserved_special_token_0|>",
      "<|reserved_special_token_1|>",
      "<|finetune_right_pad_id|>",
      "<|reserved_special_token_2|>",
      "<|start_header_id|>",
      "<|end_header_id|>",
      "<|eom_id|>",
      "<|eot_id|>",
      "<|python_tag|>",
    ),
    tokensStand: "last",
    modelOptions: { ignore_merges: true },
    config: {
      bos_token: "<|begin_of_text|>",
      eos_token: "<|eot_id|>",
      pad_token: "<|finetune_right_pad_id|>",
      model_max_length: 131_072,
    },
    vocabSize: 128_256,
  },
  qwen: {
    ...plainBytes,
    normalizer: { type: "NFC" },
    preTokenizer: splitAndBytes(qwenPattern),
    decoder: byteLevel({ trim_offsets: false, use_regex: false }),
    postProcessor: () => byteLevel({ trim_offsets: false, use_regex: false }),
    tokens: [
      ...special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
      ...special("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
      ...special("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
      ...plain("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
      ...plain("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
    ],
    tokensStand: "last",
    config: { eos_token: "<|im_end|>", pad_token: "<|endoftext|>", model_max_length: 131_072 },
    vocabSize: 151_669,
  },
  bert: {
    model: "wordpiece",
    byteLevel: false,
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    preTokenizer: { type: "BertPreTokenizer" },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    postProcessor: (idOf) => template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", idOf),
    tokens: special("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    tokensStand: "first",
    modelOptions: { unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
    config: {
      unk_token: "[UNK]",
      pad_token: "[PAD]",
      cls_token: "[CLS]",
      sep_token: "[SEP]",
      mask_token: "[MASK]",
      model_max_length: 512,
    },
    vocabSize: 30_522,
  },
  t5: {
    model: "unigram",
    byteLevel: false,
    // What SentencePiece's rules nmt_nfkc are compiled from, and its merging of spaces.
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "Nmt" }, { type: "NFKC" }, { type: "Replace", pattern: { Regex: " {2,}" }, content: " " }],
    },
    preTokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    postProcessor: (idOf) => template("$A </s>", "$A </s> $B </s>", idOf),
    tokens: special("<pad>", "</s>", "<unk>"),
    tokensStand: "first",
    modelOptions: { byte_fallback: false },
    config: { eos_token: "</s>", unk_token: "<unk>", pad_token: "<pad>", model_max_length: 512 },
    vocabSize: 32_100,
  },
  minimind: {
    ...plainBytes,
    tokens: special("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    config: {
      bos_token: "<|im_start|>",
      eos_token: "<|im_end|>",
      pad_token: "<|endoftext|>",
      unk_token: "<|endoftext|>",
      model_max_length: 32_768,
    },
    vocabSize: 6400,
  },
};

/** T5's sentinels, which stand for the spans that were cut out of a text; they come after all other tokens, the first one last. */
export const sentinels: readonly string[] = Array.from({ length: 100 }, (_, i) => `<extra_id_${99 - i}>`);

export function presetFor(name: string): Preset {
  const known = presetNames.find((preset) => preset === name);
  if (known) return presets[known];
  throw new ArgumentError(`There is no preset ${JSON.stringify(name)}; there are ${presetNames.join(", ")}.`);
}
