/** Ids, offsets and spellings against the Rust library, in its Node binding: pipelines whose stages move text about. */

import fc from "fast-check";
import { Tokenizer as RustTokenizer } from "tokenizers";
import { describe, expect, it } from "vitest";
import sentencePiece from "../../reference/golden/sentencepiece-tokenizers.json" with { type: "json" };
import { byteAlphabet } from "./byte-alphabet.js";
import { tokenizerFromJson } from "./index.js";
import { TextPlaces } from "./text/text-places.js";

const characters = [..."abhelowrd▁Ġé<>x. ดีกคােொﾊバ😀𝄞한漢½12Ａ\u0301\u0323\u094d"];
const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

const bpe = (tokens: readonly string[], merges: readonly (readonly [string, string])[], options: object = {}) => ({
  ...{ type: "BPE", dropout: null, unk_token: "<unk>", continuing_subword_prefix: null, end_of_word_suffix: null },
  ...{ fuse_unk: true, byte_fallback: false, ignore_merges: false },
  vocab: Object.fromEntries(
    [...new Set(["<unk>", ...tokens, ...merges.map((merge) => merge.join(""))])].map((token, id) => [token, id]),
  ),
  merges: merges.map((merge) => merge.join(" ")),
  ...options,
});
const byteFallback = bpe(
  [...bytes, ..."abhelo▁<m>"],
  [
    ["h", "e"],
    ["<0xF0>", "<0x9F>"],
    ["<0xE0>", "<0xB8>"],
    ["<0x94>", "<0xE0>"],
  ],
  { byte_fallback: true },
);
const byteLevel = bpe(byteAlphabet, [
  ["h", "e"],
  ["Ġ", "he"],
  ["à", "¸"],
]);
const unigram = {
  ...{ type: "Unigram", unk_id: 0, byte_fallback: false },
  vocab: [
    ["<unk>", 0],
    ...bytes.map((byte) => [byte, -20]),
    ...characters.slice(0, 24).map((c, i) => [c, -2 - i / 50]),
    ["▁he", -3],
  ],
};
const wordPiece = {
  ...{ type: "WordPiece", unk_token: "<unk>", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
  vocab: Object.fromEntries(["<unk>", ...characters, ...characters.map((c) => `##${c}`)].map((token, id) => [token, id])),
};
const sizeOf = ({ vocab }: { vocab: object }) => (Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length);

const byteLevelStage = (add_prefix_space: boolean, options: object = {}) => ({
  ...{ type: "ByteLevel", add_prefix_space, trim_offsets: true, use_regex: true },
  ...options,
});
const metaspace = (prepend_scheme: string) => ({ type: "Metaspace", replacement: "▁", prepend_scheme, split: true });
const sequence = (...normalizers: readonly object[]) => ({ type: "Sequence", normalizers });
const strip = { type: "Strip", strip_left: true, strip_right: true };
const bert = { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true };
const roberta = { type: "RobertaProcessing", sep: ["b", 0], cls: ["a", 1], trim_offsets: true, add_prefix_space: true };
const charsmap = /"precompiled_charsmap":"([^"]+)"/.exec(JSON.stringify(sentencePiece))?.[1];

interface Pipeline {
  readonly model: { readonly vocab: object; readonly byte_fallback?: boolean };
  readonly normalizer?: object;
  readonly pre_tokenizer?: object;
  readonly post_processor?: object;
  /** Flags of `<m>`. */
  readonly added?: object;
}

const pipelines: Readonly<Record<string, Pipeline>> = {
  "NFC, byte fallback": { model: byteFallback, normalizer: { type: "NFC" } },
  NFD: { model: wordPiece, normalizer: { type: "NFD" }, pre_tokenizer: { type: "Whitespace" } },
  "NFKC, Unigram with byte fallback": { model: { ...unigram, byte_fallback: true }, normalizer: { type: "NFKC" } },
  "NFKD, Metaspace": { model: unigram, normalizer: { type: "NFKD" }, pre_tokenizer: metaspace("always") },
  "a compiled table": {
    model: unigram,
    normalizer: { type: "Precompiled", precompiled_charsmap: charsmap },
    pre_tokenizer: metaspace("always"),
  },
  "BERT's": { model: wordPiece, normalizer: bert, pre_tokenizer: { type: "BertPreTokenizer" } },
  "accents taken off after decomposition": {
    model: wordPiece,
    normalizer: sequence({ type: "NFKD" }, { type: "StripAccents" }),
    pre_tokenizer: { type: "Whitespace" },
  },
  "a prefix space, trimmed": { model: byteLevel, pre_tokenizer: byteLevelStage(true), post_processor: byteLevelStage(true) },
  "a prefix space, not cut": {
    model: byteLevel,
    pre_tokenizer: byteLevelStage(true, { use_regex: false }),
    post_processor: roberta,
  },
  "an added token that takes spaces, trimmed": {
    model: byteLevel,
    pre_tokenizer: byteLevelStage(false),
    post_processor: byteLevelStage(false),
    added: { lstrip: true, rstrip: true },
  },
  "an added token in normalized text": {
    model: byteLevel,
    normalizer: sequence({ type: "NFC" }, { type: "Lowercase" }),
    pre_tokenizer: byteLevelStage(true),
    post_processor: roberta,
    added: { lstrip: true, normalized: true },
  },
  "Metaspace first, after the beginning was removed": {
    model: unigram,
    normalizer: sequence(strip, { type: "StripAccents" }),
    pre_tokenizer: metaspace("first"),
  },
  "Metaspace first, after replacements": {
    model: byteFallback,
    normalizer: sequence({ type: "Nmt" }, { type: "Replace", pattern: { Regex: " {2,}|^\\s" }, content: "" }),
    pre_tokenizer: metaspace("first"),
  },
  "Llama's normalizer": {
    model: byteFallback,
    normalizer: sequence({ type: "Prepend", prepend: "▁" }, { type: "Replace", pattern: { String: " " }, content: "▁" }),
  },
};

const text = fc
  .array(
    fc.constantFrom(
      ...[
        "a",
        "b",
        "he",
        "hello",
        " ",
        "  ",
        "\n",
        "\t",
        "é",
        "e\u0301",
        "ดี",
        "กำ",
        "น้ำ",
        "কো",
        "কো",
        "ে",
        "கொ",
        "கொ",
        "ﾊﾞ",
        "ﾊ",
        "ﾊﾟ",
      ],
      ...[
        "😀",
        "𝄞x",
        "ﬁ",
        "한",
        "하",
        "한",
        "e\u0323\u0302",
        "e\u0302\u0323",
        "漢字",
        "½",
        "Ａ１",
        "<m>",
        "<M>",
        "▁",
        "\u0344",
        "a\u0308\u0301",
      ],
      ...["\u0301a", "İ", "ẛ̣", "\u200d", "ड़", "ड़", "①", "㌔", "™", "…", "."],
    ),
    { maxLength: 7 },
  )
  .map((parts) => parts.join(""));

describe.each(Object.entries(pipelines))("%s", (_, { added, ...stages }) => {
  const token = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const json = {
    ...{
      version: "1.0",
      truncation: null,
      padding: null,
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
    },
    added_tokens: [{ id: sizeOf(stages.model), content: "<m>", ...token, ...added }],
    ...stages,
  };

  it("has the Rust library's ids, offsets and spellings", async () => {
    const rust = RustTokenizer.fromString(JSON.stringify(json));
    const tokenizer = tokenizerFromJson(json);
    await fc.assert(
      fc.asyncProperty(text, async (given) => {
        const wanted = await rust.encode(given);
        const places = new TextPlaces(given);
        const { ids, offsets, tokens } = tokenizer.tokenize(given);
        const points = Array.from(offsets, (unit) => places.point(unit));
        expect([given, [...ids], points, [...tokens]]).toEqual([
          given,
          wanted.getIds(),
          wanted.getOffsets().flat(),
          wanted.getTokens(),
        ]);
        expect([...tokenizer.encode(given)]).toEqual([...tokenizer.tokenize(given, { addSpecialTokens: false }).ids]);
      }),
      { numRuns: 80, seed: 3 },
    );
  });
});
