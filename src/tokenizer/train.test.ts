import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import golden from "../../reference/golden/bpe.json" with { type: "json" };
import { byteAlphabet } from "./byte-alphabet.js";
import { gpt2Pattern, scannerFor } from "./pipeline/scanners.js";
import { startTraining, type TokenizerTraining, trainTokenizer } from "./train.js";
import { type BytePairVocabulary, bytePairSteps } from "./training/bpe.js";
import { wordAt, wordCountsOf } from "./training/word-counter.js";

function countWords(text: string): Map<string, number> {
  const words = new Map<string, number>();
  scannerFor(gpt2Pattern)?.(text, (start, end) => {
    const word = text.slice(start, end);
    words.set(word, (words.get(word) ?? 0) + 1);
  });
  return words;
}

function learnBytePairs(words: Map<string, number>, vocabSize: number, specialTokens: string[]): BytePairVocabulary {
  const steps = bytePairSteps(wordCountsOf(words), { vocabSize, specialTokens, byteLevel: true });
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The definition, as in Sennrich et al. 2016, algorithm 1: count all pairs anew for each merge. */
function learnBytePairsByRecounting(words: Map<string, number>, vocabSize: number): string[][] {
  const id = new Map(byteAlphabet.map((character, index) => [character, index]));
  const byteCharacters = [...byteAlphabet].sort((a, b) => byteOf(a) - byteOf(b));
  const split = [...words].map(([word, count]) => ({
    count,
    symbols: [...new TextEncoder().encode(word)].map((byte) => byteCharacters[byte] as string),
  }));
  const merges: string[][] = [];
  while (id.size < vocabSize) {
    const counts = new Map<string, number>();
    for (const { symbols, count } of split)
      for (let i = 1; i < symbols.length; i++)
        counts.set(`${symbols[i - 1]} ${symbols[i]}`, (counts.get(`${symbols[i - 1]} ${symbols[i]}`) ?? 0) + count);
    const rank = (pair: string) => pair.split(" ").map((token) => id.get(token) as number) as [number, number];
    const best = [...counts.keys()].sort(
      (a, b) => (counts.get(b) as number) - (counts.get(a) as number) || rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1],
    )[0];
    if (best === undefined) break;
    const [left, right] = best.split(" ") as [string, string];
    merges.push([left, right]);
    id.set(left + right, id.size);
    for (const { symbols } of split)
      for (let i = 0; i + 1 < symbols.length; i++)
        if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, left + right);
  }
  return merges;
}

/** GPT-2's own way to write the alphabet: printable bytes are themselves, the others follow from U+0100. */
function byteOf(character: string): number {
  const code = character.charCodeAt(0);
  if (code < 0x100) return code;
  const others = [...Array(33).keys(), ...Array.from({ length: 34 }, (_, i) => 0x7f + i), 0xad];
  return others[code - 0x100] as number;
}

describe("bytePairSteps", () => {
  const spelled = ({ tokens, merges }: ReturnType<typeof learnBytePairs>) => merges.map((pair) => pair.map((id) => tokens[id]));

  it("learns what counting anew for each merge learns", () => {
    const anyText = fc.oneof(
      fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 60 }), // runs, overlaps, ties
      fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "🐋"), maxLength: 60 }),
      fc.string({ unit: "binary", maxLength: 30 }),
    );
    fc.assert(
      fc.property(anyText, fc.integer({ min: 256, max: 300 }), (text, vocabSize) => {
        const words = countWords(text);
        expect(spelled(learnBytePairs(words, vocabSize, []))).toEqual(learnBytePairsByRecounting(words, vocabSize));
      }),
    );
  });

  it("makes every token by one merge", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 80 }), (text) => {
        const { tokens, merges } = learnBytePairs(countWords(text), 10_000, []);
        expect(new Set(tokens).size).toBe(tokens.length);
        expect(merges.map(([left, right]) => `${tokens[left]}${tokens[right]}`)).toEqual(tokens.slice(256));
      }),
    );
  });

  it("grows its tables", () => {
    const random = (i: number) => String.fromCodePoint(0x4e00 + ((i * 7919) % 20_000)); // thousands of different pairs
    const text = Array.from({ length: 20_000 }, (_, i) => random(i * i)).join("");
    const { tokens, merges } = learnBytePairs(countWords(text), 3000, []);
    expect(tokens).toHaveLength(3000);
    expect(new Set(merges.map((pair) => pair.join())).size).toBe(merges.length);
  });
});

describe("trainTokenizer, bpe", () => {
  it.each(Object.entries(golden.cases))("learns the merges of Hugging Face's Rust trainer: %s", async (_, expected) => {
    const text = expected.text === "LICENSE" ? readFileSync(new URL("../../LICENSE", import.meta.url), "utf8") : expected.text;
    const { vocabSize, specialTokens } = expected;
    const tokenizer = await trainTokenizer(text, { model: "bpe", vocabSize, specialTokens });
    expect(tokenizer.toJSON().model.merges).toEqual(expected.merges);
    expect(tokenizer.vocabSize).toBe(expected.tokens);
    expect([...tokenizer.encode(text)].slice(0, 200)).toEqual(expected.ids);
  });

  it("does not learn from special tokens with spaces where a long text is cut", async () => {
    // Blocks of a text end at spaces behind letters, of which these have nothing else.
    const text = "<qqq zzz>".repeat(250_000);
    const { words } = await startTraining(`ab ${text}`, {
      model: "bpe",
      vocabSize: 300,
      specialTokens: ["<qqq zzz>"],
      threads: 1,
    });
    expect(Array.from({ length: words.size }, (_, i) => wordAt(words, i))).toEqual(["ab", " "]);
  });

  it("does not learn from special tokens in the text", async () => {
    const options: TokenizerTraining = { model: "bpe", vocabSize: 262, specialTokens: ["<|end|>"] };
    const tokenizer = await trainTokenizer("whale<|end|>".repeat(9), options);
    const { merges } = tokenizer.toJSON().model;
    expect(merges).toEqual((await trainTokenizer("whale ", options)).toJSON().model.merges);
    expect([...tokenizer.encode("whale<|end|>")]).toEqual([tokenizer.tokenToId("whale"), 0]);
  });

  it("stops where no pair is left", async () => {
    const tokenizer = await trainTokenizer("abc", { model: "bpe", vocabSize: 5000 });
    expect(tokenizer.vocabSize).toBe(258);
    expect(tokenizer.encode("abc")).toHaveLength(1);
  });

  it.each([0, 1, 255, 257, 300.5, Number.NaN])("refuses a vocabulary of %d", async (vocabSize) => {
    await expect(trainTokenizer("some text", { model: "bpe", vocabSize, specialTokens: ["<s>", "</s>"] })).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("at least 258"),
    });
  });

  it("refuses a special token that is spelled like a byte or like what a merge makes", async () => {
    for (const token of ["a", "Ġa"])
      await expect(
        trainTokenizer("b a ".repeat(5), { model: "bpe", vocabSize: 260, specialTokens: [token] }),
      ).rejects.toMatchObject({
        code: "TOKENIZER",
        message: expect.stringContaining(JSON.stringify(token)),
      });
  });
});

describe("trainTokenizer, character", () => {
  it("numbers special tokens, then the characters by code point", async () => {
    const tokenizer = await trainTokenizer("b🐋a\nb<s>", { model: "character", specialTokens: ["<s>"] });
    expect(Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id))).toEqual([
      "<s>",
      "\n",
      "a",
      "b",
      "🐋",
    ]);
  });

  it("refuses a text with more characters than vocabSize, and a single one", async () => {
    await expect(trainTokenizer("abc", { model: "character", vocabSize: 2 })).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("3 different"),
    });
    await expect(trainTokenizer("aaa", { model: "character" })).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("at least 2"),
    });
    expect((await trainTokenizer("abc", { model: "character", vocabSize: 3 })).vocabSize).toBe(3);
  });
});

describe("trainTokenizer", () => {
  it.each(["bpe", "character"] as const)("refuses an empty text (%s)", async (model) => {
    await expect(trainTokenizer("", { model, vocabSize: 300 })).rejects.toMatchObject({ code: "DATA" });
  });

  it("refuses special tokens that are empty or given twice, and an unknown model", async () => {
    for (const specialTokens of [[""], ["<s>", "<s>"]])
      await expect(trainTokenizer("text", { model: "bpe", vocabSize: 300, specialTokens })).rejects.toMatchObject({
        code: "TOKENIZER",
      });
    const wordNet = { model: "wordnet", vocabSize: 300 } as unknown as TokenizerTraining;
    await expect(trainTokenizer("text", wordNet)).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringContaining("wordnet"),
    });
  });

  it("keeps a token named like a property of every object", async () => {
    const tokenizer = await trainTokenizer("a b", { model: "character", specialTokens: ["__proto__", "constructor"] });
    expect([...tokenizer.encode("constructora__proto__")]).toEqual([1, 3, 0]);
  });
});
