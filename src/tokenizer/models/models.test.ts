import fc from "fast-check";
import { Tokenizer as RustTokenizer } from "tokenizers";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson, trainTokenizer } from "../index.js";
import { type Arc, logSumExp, nBest, type SegmentationLattice, sample } from "./lattice.js";

/** A lattice in which every place is reached: unit arcs, and some longer ones. */
const lattices = fc
  .tuple(
    fc.integer({ min: 1, max: 6 }),
    fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 2, max: 4 }), fc.integer({ min: -40, max: -1 })), { maxLength: 6 }),
  )
  .map(([length, longer]): SegmentationLattice => {
    const arcs: Arc[] = Array.from({ length }, (_, start) => ({ start, end: start + 1, id: start, score: -3 - start / 7 }));
    longer.forEach(([start, width, score], i) => {
      if (start + width <= length) arcs.push({ start, end: start + width, id: 100 + i, score: score / 5 - i / 1000 });
    });
    return { length, arcs };
  });

function allPaths({ length, arcs }: SegmentationLattice, at = 0): Arc[][] {
  if (at === length) return [[]];
  return arcs
    .filter(({ start }) => start === at)
    .flatMap((arc) => allPaths({ length, arcs }, arc.end).map((rest) => [arc, ...rest]));
}
const scoreOf = (path: readonly Arc[]) => path.reduce((sum, { score }) => sum + score, 0);

describe("nBest", () => {
  it("lists the best paths in order", () => {
    fc.assert(
      fc.property(lattices, fc.integer({ min: 1, max: 9 }), (lattice, count) => {
        const expected = allPaths(lattice)
          .map(scoreOf)
          .sort((a, b) => b - a)
          .slice(0, count);
        const found = nBest(lattice, count);
        expect(found).toHaveLength(expected.length);
        found.forEach(({ arcs, score }, i) => {
          expect(score).toBeCloseTo(expected[i] as number, 9);
          expect(scoreOf(arcs)).toBeCloseTo(score, 9);
        });
        expect(new Set(found.map(({ arcs }) => arcs.map(({ id }) => id).join())).size).toBe(found.length);
      }),
    );
  });
});

describe("sample", () => {
  it.each([undefined, 3])("draws a path as often as its probability says (count %s)", (count) => {
    const lattice: SegmentationLattice = {
      length: 3,
      arcs: [
        { start: 0, end: 1, id: 0, score: -1 },
        { start: 1, end: 2, id: 1, score: -1.5 },
        { start: 2, end: 3, id: 2, score: -1 },
        { start: 0, end: 2, id: 3, score: -2 },
        { start: 1, end: 3, id: 4, score: -2.5 },
      ],
    };
    const alpha = 0.7;
    const paths = allPaths(lattice);
    const total = logSumExp(paths.map((path) => alpha * scoreOf(path)));
    // Numbers that are spread evenly in two dimensions (Kronecker's sequence), so that nothing is left to chance.
    const draws = 20_000;
    const seen = new Map<string, number>();
    for (let i = 0; i < draws; i++) {
      const steps = [0.7548776662466927, 0.5698402909980532, 0.4301597090019468];
      let draw = 0;
      const random = () => (i * (steps[draw++ % 3] as number)) % 1;
      const { arcs } = sample(lattice, { alpha, random, ...(count === undefined ? {} : { count }) });
      const key = arcs.map(({ id }) => id).join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    for (const path of paths)
      expect((seen.get(path.map(({ id }) => id).join()) ?? 0) / draws).toBeCloseTo(Math.exp(alpha * scoreOf(path) - total), 1.7);
  });
});

describe("a Unigram tokenizer", () => {
  it("draws segmentations of the text, the same for the same seed, and lists them", async () => {
    const text = "unbelievable believers believe in unbelievable beliefs ".repeat(9);
    const tokenizer = await trainTokenizer(text, { model: "unigram", vocabSize: 40 });
    const best = [...tokenizer.encode(text)];
    const draw = (seed: number) => [...tokenizer.encodeSampled(text, { alpha: 0.2, seed })];
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const seed of [1, 2, 3]) expect(tokenizer.decode(draw(seed))).toBe(tokenizer.decode(best));
    expect([...tokenizer.encodeSampled(text, { alpha: 1, count: 1, seed: 5 })]).toEqual(best);
    const [first, second] = tokenizer.segmentations("▁believe", 2);
    expect(first?.ids).toEqual([...tokenizer.encode("believe")]);
    expect(first?.logProbability).toBeGreaterThanOrEqual(second?.logProbability as number);
  });
});

describe("BPE", () => {
  it("merges long words as short ones, with a heap instead of a search: both as Rust does", async () => {
    const vocab = Object.fromEntries(
      ["a", "b", "c", "ab", "ba", "aa", "abc", "abab", "cc", "aab", "<unk>"].map((token, id) => [token, id]),
    );
    const merges = ["a b", "ab c", "a a", "b a", "ab ab", "c c", "a ab"];
    const json = { model: { type: "BPE", vocab, merges, unk_token: "<unk>", fuse_unk: true } };
    const tokenizer = tokenizerFromJson(json);
    const rust = RustTokenizer.fromString(
      JSON.stringify({ ...tokenizer.toJSON(), version: "1.0", truncation: null, padding: null }),
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: fc.constantFrom("a", "b", "c", "x"), maxLength: 130 }), async (text) => {
        expect([...tokenizer.encode(text)]).toEqual((await rust.encode(text)).getIds());
      }),
    );
  });
});

describe("a piece without end, such as a text without spaces", () => {
  const text = `${"thewhiteŵhale🐋sankthe\u{1f6a2}ship".repeat(2500)}x`;

  it.each([
    ["bpe", "minimind"],
    ["unigram", "t5"],
  ] as const)("is encoded as Rust does it: %s", async (model, preset) => {
    const tokenizer = await trainTokenizer(`${text.slice(0, 2000)} white whale`, { model, preset, vocabSize: 400 });
    const rust = RustTokenizer.fromString(
      JSON.stringify({ ...tokenizer.toJSON(), version: "1.0", truncation: null, padding: null }),
    );
    for (const given of [text, text.slice(0, 65_537), "short", text])
      expect(Buffer.from(tokenizer.encode(given).buffer)).toEqual(
        Buffer.from(Int32Array.from((await rust.encode(given, null, { addSpecialTokens: false })).getIds()).buffer),
      );
  });
});

describe("a unigram vocabulary with a very long token", () => {
  const entries: [string, number][] = ["<unk>", "a", "b", "ab", "aba", "bab", "ba", "𝄞", "𝄞a", "b𝄞"].map((token, i) => [
    token,
    -1 - ((i * 7) % 5),
  ]);
  const unigram = (vocab: readonly [string, number][]) => tokenizerFromJson({ model: { type: "Unigram", unk_id: 0, vocab } });
  const usual = unigram(entries);

  it("encodes other text as without it", () => {
    const other = unigram([...entries, ["z".repeat(300), -1]]);
    const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "𝄞", "😀"), maxLength: 30 });
    fc.assert(
      fc.property(text, (given) => {
        const [want, got] = [usual.tokenize(given), other.tokenize(given)];
        expect([[...got.ids], [...got.offsets]]).toEqual([[...want.ids], [...want.offsets]]);
      }),
    );
  });

  it("is as fast on text that nearly is the token", () => {
    const long = "ab".repeat(1 << 19);
    const tokenizer = unigram([...entries, [long, -1]]);
    expect([...tokenizer.encode(`${long}𝄞`)]).toEqual([entries.length, 7]);
    expect(tokenizer.encode(long.slice(2))).toEqual(usual.encode(long.slice(2)));
  });
});
