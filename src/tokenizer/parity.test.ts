/** Ids, offsets and texts against Python's tokenizers: reference/tokenizers_parity.py. */

import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import golden from "../../reference/golden/tokenizers.json" with { type: "json" };
import { startTraining, type Tokenizer, type TokenizerTraining, tokenizerFromJson, trainTokenizer } from "./index.js";
import { type ParityCorpora, parityCorpora, parityCorpusNames } from "./testing/parity-corpora.js";
import { parityTokenizers, trainingText } from "./testing/parity-tokenizers.js";
import type { TokenizerJson } from "./tokenizer-json.js";
import { trainedConfig } from "./training/trained-json.js";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hashOf = (value: unknown) => sha256(JSON.stringify(value));

/** Python counts code points, JavaScript UTF-16 units. */
function inCodePoints(text: string, offsets: Int32Array): number[][] {
  const points = Array.from({ length: text.length + 1 }, (_, unit) => [...text.slice(0, unit)].length);
  return Array.from({ length: offsets.length / 2 }, (_, i) => [
    points[offsets[2 * i] as number] as number,
    points[offsets[2 * i + 1] as number] as number,
  ]);
}

let corpora: ParityCorpora;
let trained: Record<string, TokenizerJson>;
beforeAll(async () => {
  corpora = await parityCorpora();
  trained = await parityTokenizers(corpora);
}, 600_000);

it("compares on the corpora that Python had", () => {
  for (const name of parityCorpusNames) expect(sha256(corpora[name])).toBe(golden.corpora[name]);
});

describe.each(Object.entries(golden.tokenizers))("the %s tokenizer", (name, expected) => {
  let tokenizer: Tokenizer;
  beforeAll(() => {
    const json = trained[name] as TokenizerJson;
    tokenizer = tokenizerFromJson(json, trainedConfig(json.added_tokens, {}));
  });

  it("is the one that Python had", () => {
    expect(hashOf(tokenizer.toJSON().model)).toBe(expected.tokenizer);
  });

  it.each(parityCorpusNames)("gives Python's ids for a megabyte: %s", (corpus) => {
    const ids = tokenizer.encode(corpora[corpus]);
    expect(ids).toHaveLength(expected.corpora[corpus].tokens);
    expect(hashOf([...ids])).toBe(expected.corpora[corpus].ids);
    expect(hashOf(tokenizer.decode(ids))).toBe(expected.corpora[corpus].text);
  });

  it("gives Python's ids, offsets and texts, line by line", () => {
    for (const { text, ids, offsets, decoded } of expected.lines) {
      const encoding = tokenizer.tokenize(text);
      expect([...encoding.ids]).toEqual(ids);
      expect([text, inCodePoints(text, encoding.offsets)]).toEqual([text, offsets]);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decoded);
    }
  });

  it("puts Python's tokens around pairs", () => {
    for (const { text, pair } of expected.lines) {
      const { ids, typeIds, specialTokensMask } = tokenizer.tokenize([text, expected.lines[2]?.text as string]);
      expect({ ids: [...ids], typeIds: [...typeIds], specialTokensMask: [...specialTokensMask] }).toEqual(pair);
    }
  });

  it("says of every token where it stands, with or without offsets alike", () => {
    for (const { text } of expected.lines) {
      const { ids, offsets } = tokenizer.tokenize(text, { addSpecialTokens: false });
      expect([...ids]).toEqual([...tokenizer.encode(text)]);
      for (let i = 0; i < offsets.length; i += 2) {
        expect(offsets[i]).toBeGreaterThanOrEqual(0);
        expect(offsets[i + 1]).toBeLessThanOrEqual(text.length);
        expect(offsets[i]).toBeLessThanOrEqual(offsets[i + 1] as number);
      }
    }
  });
});

describe("trainers", () => {
  const { bpe, wordpiece, unigram } = golden.trainers;
  const train = (options: TokenizerTraining) => trainTokenizer(trainingText(corpora), options);

  it("learn Rust's merges in Rust's order", async () => {
    const merges = (await train({ model: "bpe", vocabSize: bpe.vocabSize })).toJSON().model.merges as string[];
    expect(merges).toHaveLength(bpe.merges);
    expect(hashOf(merges)).toBe(bpe.sha256);
  });

  it("make the text as short as Rust's WordPiece and Unigram do, within 0.5 %", async () => {
    const shortened = async (options: TokenizerTraining) => (await train(options)).encode(trainingText(corpora)).length;
    const byFrequency = await shortened({ model: "wordpiece", vocabSize: wordpiece.vocabSize });
    expect(Math.abs(byFrequency / wordpiece.tokens - 1)).toBeLessThan(0.005);
    const specialTokens = ["<pad>", "</s>", "<unk>"];
    const byUnigram = await shortened({ model: "unigram", vocabSize: unigram.vocabSize, specialTokens });
    expect(Math.abs(byUnigram / unigram.tokens - 1)).toBeLessThan(0.005);
  });

  it("count the same with threads, and whether a text comes whole or in parts", async () => {
    const text = trainingText(corpora).repeat(20); // long enough for workers
    const once = await startTraining(text, { model: "bpe", vocabSize: 300, threads: 1 });
    const parallel = await startTraining(text, { model: "bpe", vocabSize: 300, threads: 2 });
    const sum = (counts: Float64Array) => counts.reduce((total, count) => total + count, 0);
    expect(parallel.words.size).toBe(once.words.size);
    expect(sum(parallel.words.counts)).toBe(sum(once.words.counts));
  });
});
