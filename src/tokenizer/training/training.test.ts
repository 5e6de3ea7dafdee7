import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startTraining, trainTokenizer } from "../train.js";
import { textBlocks } from "./count-words.js";
import { boundary, seedPieces } from "./seed-pieces.js";
import { unigramSteps } from "./unigram.js";
import { UnigramCorpus } from "./unigram-corpus.js";
import { WordCounter, wordAt, wordCountsOf } from "./word-counter.js";
import { likelihoodSteps } from "./wordpiece-likelihood.js";

const whitespace = { normalizer: null, pre_tokenizer: { type: "WhitespaceSplit" }, added_tokens: [] };

function result<Step, Result>(steps: Generator<Step, Result, void>): { steps: Step[]; result: Result } {
  const all: Step[] = [];
  for (let next = steps.next(); ; next = steps.next()) {
    if (next.done) return { steps: all, result: next.value };
    all.push(next.value);
  }
}

const words = fc
  .array(
    fc.tuple(
      fc.string({ unit: fc.constantFrom("a", "b", "c", "🐋"), minLength: 1, maxLength: 7 }),
      fc.integer({ min: 1, max: 9 }),
    ),
    {
      minLength: 1,
      maxLength: 8,
    },
  )
  .map((list) => new Map(list));

describe("seedPieces", () => {
  it("finds the substrings that occur twice and are followed by different characters", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 2, max: 5 }), (all, longest) => {
        const text = [...all.keys()].flatMap((word) => [
          ...[...word].map((character) => character.codePointAt(0) as number),
          boundary,
        ]);
        const expected = new Map<string, number>();
        for (let start = 0; start < text.length; start++)
          for (let length = 2; length <= longest && start + length <= text.length; length++) {
            const piece = text.slice(start, start + length);
            if (piece.includes(boundary)) break;
            expected.set(piece.join(), (expected.get(piece.join()) ?? 0) + 1);
          }
        for (const piece of [...expected.keys()]) {
          const followers = new Set<number | undefined>();
          const length = piece.split(",").length;
          for (let start = 0; start + length <= text.length; start++)
            if (text.slice(start, start + length).join() === piece) followers.add(text[start + length]);
          if (followers.size < 2) expected.delete(piece);
        }
        const found = seedPieces(Int32Array.from(text), longest, 1000);
        expect(
          new Map(found.map(({ start, length, score }) => [text.slice(start, start + length).join(), score / length])),
        ).toEqual(expected);
        expect(found.map(({ score }) => score)).toEqual(found.map(({ score }) => score).sort((a, b) => b - a));
      }),
    );
  });
});

/** All ways to cut `word` into tokens (undefined: an unknown character). */
function segmentations(word: readonly string[], tokens: ReadonlyMap<string, number>): (number | undefined)[][] {
  if (word.length === 0) return [[]];
  const ways: (number | undefined)[][] = [];
  for (let length = 1; length <= word.length; length++) {
    const token = tokens.get(word.slice(0, length).join(""));
    if (token === undefined && length > 1) continue;
    for (const rest of segmentations(word.slice(length), tokens)) ways.push([token, ...rest]);
  }
  return ways;
}

describe("UnigramCorpus", () => {
  const tokens = ["a", "b", "ab", "ba", "aba", "bb", "c🐋"];
  const scores = Float64Array.from(tokens, (_, i) => -1 - i / 3);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const unknownScore = -12;
  const scoreOf = (way: readonly (number | undefined)[]) =>
    way.reduce<number>((sum, token) => sum + (token === undefined ? unknownScore : (scores[token] as number)), 0);

  it.each(["short", "long"])("sums over all segmentations, of %s words", (kind) => {
    fc.assert(
      fc.property(words, (all) => {
        // Words of more than twenty characters go another way; "c" between copies keeps their segmentations few.
        const tail = kind === "long" ? "c".repeat(20) : "";
        const list = new Map([...all].map(([word, count]) => [word + tail, count]));
        const counts = wordCountsOf(list);
        const expected = new Float64Array(tokens.length);
        const best = new Float64Array(tokens.length);
        let logLikelihood = 0;
        for (const [word, count] of list) {
          const ways = segmentations([...word], ids);
          const total = ways.reduce((sum, way) => sum + Math.exp(scoreOf(way)), 0);
          logLikelihood += count * Math.log(total);
          for (const way of ways)
            for (const token of way)
              if (token !== undefined) expected[token] = (expected[token] as number) + (count * Math.exp(scoreOf(way))) / total;
          const top = Math.max(...ways.map(scoreOf));
          for (const token of ways.find((way) => scoreOf(way) === top) ?? [])
            if (token !== undefined) best[token] = (best[token] as number) + count;
        }
        const corpus = new UnigramCorpus(counts, tokens);
        const found = corpus.expectedCounts(scores, unknownScore);
        for (const [token, count] of found.expected.entries()) expect(count).toBeCloseTo(expected[token] as number, 8);
        expect(found.logLikelihood * corpus.wordCount).toBeCloseTo(logLikelihood, 6);
        const sumOf = (values: Float64Array) => values.reduce((sum, value, token) => sum + value * (scores[token] as number), 0);
        expect(sumOf(corpus.bestCounts(scores, unknownScore))).toBeCloseTo(sumOf(best), 8); // ties may be broken otherwise
      }),
      { numRuns: 40 },
    );
  });

  it("forgets pieces, and finds the characters unknown that have none left", () => {
    const counts = wordCountsOf([["abab", 2]]);
    const corpus = new UnigramCorpus(counts, tokens);
    corpus.keep([0, 2]); // a, ab
    const { expected } = corpus.expectedCounts(Float64Array.of(-1, -2), unknownScore);
    expect([...expected].map((count) => Math.round(count * 100) / 100)).toEqual([0, 4]);
  });
});

describe("unigramSteps", () => {
  it("says what each step does and ends with all characters and no more than was asked for", () => {
    const text = "the cat sat on the mat while the other cats sat on other mats ".repeat(3).split(" ");
    const counts = new Map<string, number>();
    for (const word of text) if (word !== "") counts.set(`▁${word}`, (counts.get(`▁${word}`) ?? 0) + 1);
    const options = { vocabSize: 26, specialTokens: ["<pad>", "<unk>"], unknownToken: "<unk>" };
    const { steps, result: vocabulary } = result(unigramSteps(wordCountsOf(counts), options));
    expect(steps[0]?.kind).toBe("seed");
    const likelihoods = steps.flatMap((step) => (step.kind === "em" ? [step.logLikelihood] : []));
    expect(likelihoods.length).toBeGreaterThan(1);
    for (const likelihood of likelihoods) expect(likelihood).toBeLessThan(0);
    expect(vocabulary.pieces.length).toBeGreaterThan(15);
    expect(vocabulary.pieces.length).toBeLessThanOrEqual(26);
    expect(vocabulary.unknownId).toBe(1);
    for (const character of "▁thecasonmwil") expect(vocabulary.pieces.map(([token]) => token)).toContain(character);
  });

  it("refuses a vocabulary that cannot hold the characters", async () => {
    await expect(trainTokenizer("abcdefghij", { model: "unigram", vocabSize: 6 })).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("different characters"),
    });
  });
});

describe("likelihoodSteps", () => {
  const f = (n: number) => (n > 0 ? n * Math.log(n) : 0);
  const likelihood = (text: readonly { symbols: readonly string[]; count: number }[]) => {
    const counts = new Map<string, number>();
    let total = 0;
    for (const { symbols, count } of text)
      for (const symbol of symbols) {
        counts.set(symbol, (counts.get(symbol) ?? 0) + count);
        total += count;
      }
    return [...counts.values()].reduce((sum, count) => sum + f(count), 0) - f(total);
  };

  it("raises the likelihood of the text by what each step says, and never by less than another pair would have", () => {
    fc.assert(
      fc.property(words, (all) => {
        const { steps } = result(
          likelihoodSteps(wordCountsOf(all), { vocabSize: 40, specialTokens: [], byteLevel: false, continuingPrefix: "##" }),
        );
        let text = [...all].map(([word, count]) => ({ symbols: [...word].map((c, i) => (i === 0 ? c : `##${c}`)), count }));
        const merged = (left: string, right: string) =>
          text.map(({ symbols, count }) => {
            const joined: string[] = [];
            for (const symbol of symbols) {
              if (symbol === right && joined.at(-1) === left) joined[joined.length - 1] = left + right.slice(2);
              else joined.push(symbol);
            }
            return { symbols: joined, count };
          });
        for (const step of steps) {
          const before = likelihood(text);
          const others = new Map<string, number>();
          for (const { symbols } of text)
            symbols.slice(1).forEach((right, i) => {
              const left = symbols[i] as string;
              if (left !== right) others.set(`${left} ${right}`, likelihood(merged(left, right)) - before);
            });
          const next = merged(step.left, step.right);
          if (step.left !== step.right) expect(likelihood(next) - before).toBeCloseTo(step.gain as number, 6);
          for (const gain of others.values()) expect(step.gain as number).toBeGreaterThanOrEqual(gain - 1e-6);
          text = next;
          expect(text.reduce((sum, { symbols, count }) => sum + symbols.length * count, 0)).toBe(step.textLength);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("WordCounter", () => {
  const counted = (counter: WordCounter) => {
    const counts = counter.finish();
    return new Map(Array.from({ length: counts.size }, (_, i) => [wordAt(counts, i), counts.counts[i]]));
  };

  it("counts words, and what another counter has counted", () => {
    const counter = new WordCounter(whitespace, 1000);
    counter.add("a b  a\nc ");
    const other = new WordCounter(whitespace, 1000);
    other.add("a d");
    counter.merge(other.raw());
    expect(counted(counter)).toEqual(
      new Map([
        ["a", 3],
        ["b", 1],
        ["c", 1],
        ["d", 1],
      ]),
    );
  });

  it("keeps memory bounded, and says what it forgot", () => {
    const counter = new WordCounter(whitespace, 100);
    for (let i = 0; i < 5000; i++) counter.add(`often word${i} often`);
    const counts = counter.finish();
    expect(counts.size).toBeLessThanOrEqual(101);
    expect(counts.forgotten.words).toBeGreaterThan(4000);
    const kept = counts.counts.slice(0, counts.size).reduce((sum, count) => sum + count, 0);
    expect(kept + counts.forgotten.occurrences).toBe(15_000);
    expect(counted(counter).get("often")).toBe(10_000);
  });

  it("cuts words that have no end", () => {
    const counter = new WordCounter(whitespace, 1000);
    counter.add("🐋".repeat(100_000));
    const lengths = [...counted(counter).keys()].map((word) => word.length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1 << 16);
    for (const word of counted(counter).keys()) expect(word).not.toMatch(/\p{Surrogate}/u);
  });
});

describe("textBlocks", () => {
  it("are cut where pieces end, so that parts have the words of the whole", async () => {
    const text = Array.from({ length: 60_000 }, (_, i) => `It's  word${i * i}, and\n\n  more\tof ${i}.\r\n`).join("");
    const parts = async function* () {
      for (let at = 0; at < text.length; at += 77_777) yield text.slice(at, at + 77_777);
    };
    const blocks: string[] = [];
    for await (const block of textBlocks(parts())) blocks.push(block);
    expect(blocks.join("")).toBe(text);
    expect(blocks.length).toBeGreaterThan(1);
    const merges = async (source: string | string[]) =>
      (await trainTokenizer(source, { model: "bpe", preset: "llama3", vocabSize: 500, threads: 1 })).toJSON().model.merges;
    expect(await merges(blocks)).toEqual(await merges(text));
  });
});

describe("trainTokenizer", () => {
  const text = "The cat sat on the mat. The cats' mats, 42 of them, were 東京 red.\n".repeat(20);

  it.each([
    ["gpt2", "bpe", 300],
    ["llama3", "bpe", 300],
    ["qwen", "bpe", 320],
    ["minimind", "bpe", 300],
    ["bert", "wordpiece", 80],
    ["t5", "unigram", 60],
  ] as const)("makes a tokenizer like %s", async (preset, model, vocabSize) => {
    const tokenizer = await trainTokenizer(text, { model, preset, vocabSize });
    expect(tokenizer.vocabSize).toBeLessThanOrEqual(vocabSize);
    const ids = new Set(
      Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.tokenToId(tokenizer.idToToken(id) as string)),
    );
    expect(ids.size).toBe(tokenizer.vocabSize); // no id is left out, none is there twice
    for (const token of tokenizer.specialTokens) expect([...tokenizer.encode(token)]).toEqual([tokenizer.tokenToId(token)]);
    for (const [key, token] of Object.entries(tokenizer.config))
      if (key.endsWith("_token")) expect(tokenizer.specialTokens).toContain(token);
    if (model === "bpe") expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("gives T5 its sentinels where there is room", async () => {
    const many = Array.from({ length: 3000 }, (_, i) => `word${(i * 7919) % 3001} thing${i % 97}`).join(" ");
    const tokenizer = await trainTokenizer(many, { model: "unigram", vocabSize: 2000 });
    const [first, last] = [tokenizer.tokenToId("<extra_id_0>"), tokenizer.tokenToId("<extra_id_99>")];
    expect(first).toBe(tokenizer.vocabSize - 1);
    expect(last).toBe(tokenizer.vocabSize - 100);
  });

  it("learns step by step what it learns at once", async () => {
    const options = { model: "bpe", vocabSize: 290 } as const;
    const { words: counts, steps } = await startTraining(text, options);
    expect(counts.size).toBeGreaterThan(5);
    const { steps: merges, result: tokenizer } = result(steps);
    expect(tokenizer.toJSON()).toEqual((await trainTokenizer(text, options)).toJSON());
    let length = Buffer.byteLength(text);
    for (const step of merges) {
      if (step.kind !== "merge") throw new Error("a merge was expected");
      expect(step.token).toBe(step.left + step.right);
      expect(step.textLength).toBeLessThan(length);
      expect(step.textLength).toBeGreaterThanOrEqual(length - step.count); // less where occurrences overlap
      length = step.textLength;
    }
    expect(tokenizer.encode(text)).toHaveLength(length);
  });

  it("takes NUL bytes, a byte order mark, CRLF, lone surrogates and one endless line as text", async () => {
    const odd = "a\0b \uFEFFx\r\ny\uD800z ";
    const tokenizer = await trainTokenizer([odd.repeat(50), "", "喵".repeat(300_000)], { model: "bpe", vocabSize: 300 });
    expect(tokenizer.decode(tokenizer.encode(odd))).toBe(odd.replace("\uD800", "\uFFFD"));
    const endless = "喵a1".repeat(100_000);
    expect(tokenizer.decode(tokenizer.encode(endless))).toBe(endless);
  });

  it("stops when it is asked to", async () => {
    await expect(trainTokenizer(text, { model: "bpe", vocabSize: 300, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  it("refuses what does not go together", async () => {
    await expect(trainTokenizer(text, { model: "unigram", preset: "gpt2", vocabSize: 300 })).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(
      trainTokenizer(text, { model: "bpe", preset: "llama3", level: "character", vocabSize: 300 }),
    ).rejects.toMatchObject({
      code: "ARGUMENT",
    });
    await expect(trainTokenizer([], { model: "wordpiece", vocabSize: 300 })).rejects.toMatchObject({ code: "DATA" });
  });
});
