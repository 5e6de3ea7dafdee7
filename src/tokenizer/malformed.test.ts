/** A stranger's tokenizer.json: what is malformed is an error that says where, not a hang or JavaScript's own words. */

import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "./index.js";

const words = { type: "WordLevel", vocab: { "<unk>": 0, a: 1, b: 2 }, unk_token: "<unk>" };
const load = (parts: object) => tokenizerFromJson(JSON.parse(JSON.stringify({ model: words, ...parts })));
const refusal = (message: RegExp) => expect.objectContaining({ code: "TOKENIZER", message: expect.stringMatching(message) });

it.each([
  ["normalizer", { type: "Sequence" }, /stage Sequence .* list of stages in normalizers, but that is missing/],
  ["normalizer", { type: "Sequence", normalizers: [{}] }, /list of stages in normalizers/],
  ["normalizer", { type: "Prepend" }, /Prepend .* text as prepend/],
  ["normalizer", { type: "Replace", pattern: { String: "a" } }, /Replace .* text as content/],
  ["normalizer", { type: "Replace", content: "a" }, /neither a String nor a Regex/],
  ["normalizer", { type: "Precompiled", precompiled_charsmap: "?" }, /is not base64/],
  ["normalizer", { type: "Precompiled", precompiled_charsmap: "AAA=" }, /truncated/],
  ["normalizer", { type: "Precompiled", precompiled_charsmap: 3 }, /text as precompiled_charsmap/],
  ["pre_tokenizer", { type: "Sequence", pretokenizers: "Digits" }, /list of stages in pretokenizers/],
  ["pre_tokenizer", { type: "Metaspace", replacement: "" }, /Metaspace .* one character as replacement, but that is ""/],
  ["pre_tokenizer", { type: "Metaspace", replacement: "__" }, /one character as replacement/],
  ["pre_tokenizer", { type: "CharDelimiterSplit" }, /text as delimiter/],
  ["pre_tokenizer", { type: "FixedLength", length: 0 }, /whole number of at least 1 as length/],
  ["pre_tokenizer", { type: "Split", pattern: { String: "a" } }, /behavior undefined/],
  ["post_processor", { type: "Sequence", processors: null }, /list of stages in processors/],
  ["post_processor", { type: "BertProcessing", cls: ["[CLS]", 1] }, /BertProcessing .* \[token, id\] as sep/],
  ["post_processor", { type: "RobertaProcessing", cls: ["a", -1], sep: ["a", 1] }, /\[token, id\] as cls/],
  ["post_processor", { type: "TemplateProcessing" }, /TemplateProcessing .* is malformed/],
  ["post_processor", { type: "TemplateProcessing", single: [{ A: 1 }], pair: [], special_tokens: {} }, /malformed/],
  [
    "post_processor",
    {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "constructor", type_id: 0 } }],
      pair: [],
      special_tokens: {},
    },
    /"constructor", which is not among/,
  ],
  ["decoder", { type: "Sequence" }, /list of stages in decoders/],
  ["decoder", { type: "Strip", content: "ab", start: 1, stop: 0 }, /one character as content/],
  ["decoder", { type: "Strip", content: "a", start: -1, stop: 0 }, /at least 0 as start/],
  ["decoder", { type: "Metaspace", replacement: "" }, /one character as replacement/],
])("%s %j", (place, stage, message) => {
  expect(() => load({ [place]: stage })).toThrow(refusal(message));
});

describe("vocabularies", () => {
  const model = (vocab: unknown, more: object = {}) => ({ model: { ...words, ...more, vocab } });
  it.each([
    [model({ "<unk>": 0, a: -1 }), /the id of "a" is -1/],
    [model({ "<unk>": 0, a: 2 ** 31 }), /the id of "a" is 2147483648, but ids are whole numbers from 0 to 2147483647/],
    [model({ "<unk>": 0, a: 1.5 }), /the id of "a" is 1.5/],
    [model({ "<unk>": 0, a: "1" }), /the id of "a" is "1"/],
    [model("text"), /an object of token: id, or a list/],
    [model([["a", 0], ["b"]], { type: "Unigram" }), /entry 1 is \["b"\]/],
    [model([["a", null]], { type: "Unigram" }), /entry 0 is \["a",null\]/],
    [model([["a", 0]], { type: "Unigram", unk_id: -1 }), /unk_id is -1/],
    [model([["a", 0]], { type: "Unigram", unk_id: 0.5 }), /unk_id is 0.5/],
    [model({ a: 0, b: 1 }, { type: "BPE", unk_token: null, merges: ["a b c"] }), /Merge 0 .* "a b c", but each is two tokens/],
    [model({ a: 0, b: 1 }, { type: "BPE", unk_token: null, merges: [["a"]] }), /Merge 0/],
    [model({ a: 0, b: 1 }, { type: "BPE", unk_token: null, merges: [3] }), /Merge 0/],
    [{ added_tokens: [{ id: 2 ** 31, content: "c" }] }, /added_tokens\[0\]\.id/],
    [{ added_tokens: [{ id: -1, content: "c" }] }, /added_tokens\[0\]\.id/],
  ])("%j", (parts, message) => {
    expect(() => load(parts)).toThrow(refusal(message));
  });

  it("keep a token that is spelled like a property of objects", () => {
    const vocab = JSON.parse('{ "<unk>": 0, "__proto__": 1, "constructor": 2, "toString": 3 }');
    const tokenizer = tokenizerFromJson({ model: { ...words, vocab }, pre_tokenizer: { type: "WhitespaceSplit" } });
    expect([...tokenizer.encode("__proto__ constructor toString valueOf")]).toEqual([1, 2, 3, 0]);
    expect(tokenizer.vocabSize).toBe(4);
    const again = tokenizerFromJson(JSON.parse(JSON.stringify(tokenizer)));
    expect(again.tokenToId("__proto__")).toBe(1);
  });
});

it("many added tokens that begin alike are found, the longest first", () => {
  const added_tokens = Array.from({ length: 32_000 }, (_, i) => ({ id: i + 3, content: `<extra_${i}>` }));
  const tokenizer = load({ added_tokens: [...added_tokens, { id: 32_003, content: "<extra_7><extra_8>" }] });
  expect([...tokenizer.encode("<extra_31999><extra_7><extra_8><extra_7><extra_<extra_12>")]).toEqual([32_002, 32_003, 10, 0, 15]);
});
