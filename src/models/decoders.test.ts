import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { crossEntropy, grad, type HostArray, hostArray, type Parameter, type Tensor } from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { BLOCK } from "../nn/attention-blocks.js";
import { bool, compile, int32 } from "../program/index.js";
import type { CausalLM } from "./causal-lm.js";
import { GPT2 } from "./decoders/gpt2.js";
import { Llama } from "./decoders/llama.js";

const engine = await onnxRuntimeNode({ threads: 2 });

const vocabSize = 11;
const contextLength = 3 * BLOCK;

const models: readonly (readonly [string, (layers?: number) => CausalLM])[] = [
  [
    "GPT-2",
    (nLayer = 2) => new GPT2({ vocabSize, nEmbd: 12, nLayer, nHead: 3, nPositions: contextLength, initializerRange: 0.3 }),
  ],
  [
    "Llama",
    (numHiddenLayers = 2) =>
      new Llama({
        vocabSize,
        hiddenSize: 16,
        intermediateSize: 24,
        numHiddenLayers,
        numAttentionHeads: 4,
        numKeyValueHeads: 2,
        maxPositionEmbeddings: contextLength,
        initializerRange: 0.3,
      }),
  ],
  [
    "Llama with a tied embedding",
    (numHiddenLayers = 2) =>
      new Llama({
        vocabSize,
        hiddenSize: 8,
        intermediateSize: 16,
        numHiddenLayers,
        numAttentionHeads: 2,
        headDim: 6,
        maxPositionEmbeddings: contextLength,
        tieWordEmbeddings: true,
        initializerRange: 0.3,
      }),
  ],
];

const tokens = (seed: number, batch: number, seq: number): number[][] => {
  const random = namedRandom(seed, "tokens");
  return Array.from({ length: batch }, () => Array.from({ length: seq }, () => random.below(vocabSize)));
};

const asFeed = (rows: readonly number[][]): HostArray<"int32"> =>
  hostArray("int32", [rows.length, rows[0]?.length ?? 0], Int32Array.from(rows.flat()));

/** Rows of logits, [batch][seq] of Float64Array. */
const rowsOf = (logits: HostArray & { toNumbers(): Float64Array }): Float64Array[][] => {
  const [batch, seq, width] = logits.shape as [number, number, number];
  const values = logits.toNumbers();
  return Array.from({ length: batch }, (_, b) =>
    Array.from({ length: seq }, (_, t) => values.subarray((b * seq + t) * width, (b * seq + t + 1) * width)),
  );
};

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
};

describe.each(models)("%s", (_, make) => {
  const model = make().initialize(7);
  const signature = { ids: int32("batch", "seq") };
  const logitsOf = compile(({ ids }) => ({ logits: model.forward(ids) }), signature, { engine, frozen: true });

  it("is causal: another token changes the logits from its place on, and none before", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(),
        fc.integer({ min: 1, max: vocabSize - 1 }),
        async (seed, seq, at, by) => {
          const rows = tokens(seed, 1, seq);
          const place = at % seq;
          const changed = rows.map((row) => row.map((token, t) => (t === place ? (token + by) % vocabSize : token)));
          const [a, b] = [rowsOf((await logitsOf({ ids: rows })).logits), rowsOf((await logitsOf({ ids: changed })).logits)];
          for (let t = 0; t < place; t++)
            expect(distance(a[0]?.[t] as Float64Array, b[0]?.[t] as Float64Array)).toBeLessThan(1e-5);
          expect(distance(a[0]?.[place] as Float64Array, b[0]?.[place] as Float64Array)).toBeGreaterThan(1e-4);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("has the same logits for a prefix alone", async () => {
    const rows = tokens(1, 1, 12);
    const whole = rowsOf((await logitsOf({ ids: rows })).logits)[0] as Float64Array[];
    for (const length of [1, 5, 11]) {
      const part = rowsOf((await logitsOf({ ids: rows.map((row) => row.slice(0, length)) })).logits)[0] as Float64Array[];
      for (const [t, row] of part.entries()) expect(distance(row, whole[t] as Float64Array)).toBeLessThan(1e-5);
    }
  });

  it("sees the rows of a batch one by one", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 4 }), fc.integer({ min: 1, max: 6 }), async (seed, batch, seq) => {
        const rows = tokens(seed, batch, seq);
        const together = rowsOf((await logitsOf({ ids: rows })).logits);
        for (const [b, row] of rows.entries()) {
          const alone = rowsOf((await logitsOf({ ids: [row] })).logits)[0] as Float64Array[];
          for (const [t, values] of alone.entries())
            expect(distance(values, together[b]?.[t] as Float64Array)).toBeLessThan(1e-5);
        }
      }),
      { numRuns: 10 },
    );
  });

  it("knows where a token stands", async () => {
    // In one layer without positions, the last token would see the others in any order alike.
    const single = make(1).initialize(7);
    await using program = compile(({ ids }) => ({ logits: single.nextTokenLogits(ids) }), signature, { engine });
    const { logits } = await program({
      ids: [
        [3, 5, 8, 1],
        [8, 3, 5, 1],
      ],
    });
    const values = logits.toNumbers();
    expect(distance(values.subarray(0, vocabSize), values.subarray(vocabSize))).toBeGreaterThan(1e-3);
  });

  it("does not look at padding", async () => {
    await using padded = compile(
      ({ ids, real }) => ({ logits: model.forward(ids, { keys: real }) }),
      { ...signature, real: bool("batch", "seq") },
      { engine },
    );
    const [row] = tokens(2, 1, 5) as [number[]];
    const alone = rowsOf((await logitsOf({ ids: [row] })).logits)[0] as Float64Array[];
    for (const filler of [0, 9]) {
      const { logits } = await padded({
        ids: [
          [...row, filler, filler],
          [...row, 1, 2],
        ],
        real: [
          [1, 1, 1, 1, 1, 0, 0],
          [1, 1, 1, 1, 1, 1, 1],
        ],
      });
      for (const [t, values] of alone.entries())
        expect(distance(values, rowsOf(logits)[0]?.[t] as Float64Array)).toBeLessThan(1e-5);
    }
  });

  it("gives the last position's logits alone, and the loss without logits", async () => {
    await using program = compile(
      ({ ids, labels }) => ({
        last: model.nextTokenLogits(ids),
        all: model.forward(ids),
        loss: model.loss(ids, labels),
        plain: crossEntropy(model.forward(ids), labels),
      }),
      { ...signature, labels: int32("batch", "seq") },
      { engine },
    );
    const ids = tokens(3, 3, 6);
    const labels = tokens(4, 3, 6).map((row, b) => row.map((token, t) => ((b + t) % 4 === 0 ? -100 : token)));
    const { last, all, loss, plain } = await program({ ids, labels });
    expect(last.shape).toEqual([3, vocabSize]);
    const rows = rowsOf(all);
    for (let b = 0; b < 3; b++)
      expect(distance(last.toNumbers().subarray(b * vocabSize, (b + 1) * vocabSize), rows[b]?.[5] as Float64Array)).toBeLessThan(
        1e-5,
      );
    expect(loss.item()).toBeCloseTo(plain.item(), 5);
  });

  it("trains in blocks of queries and chunks of rows to the gradients of the whole", async () => {
    const parameters = [...model.parameters().values()] as Parameter[];
    const gradients = async (loss: (ids: Tensor, labels: Tensor) => Tensor, fetch: readonly string[]) => {
      await using program = compile(
        ({ ids, labels }) => {
          const value = loss(ids, labels);
          return { value, ...Object.fromEntries(grad(value, parameters).map((g, i) => [`g${i}`, g])) };
        },
        { ...signature, labels: int32("batch", "seq") },
        { engine, training: true, specialize: true },
      );
      const [ids, labels] = [tokens(5, 4, BLOCK + 20), tokens(6, 4, BLOCK + 20)]; // 592 rows: two chunks
      const { inside: _, ...results } = await program({ ids: asFeed(ids), labels: asFeed(labels) }, { fetch });
      return results as Readonly<Record<string, HostArray & { toNumbers(): Float64Array }>>;
    };
    const fast = await gradients((ids, labels) => model.loss(ids, labels), []);
    const plain = await gradients((ids, labels) => crossEntropy(model.forward(ids), labels), ["**.weights"]);
    for (const [name, array] of Object.entries(plain)) {
      const expected = array.toNumbers();
      const scale = Math.max(1e-3, ...expected.map(Math.abs));
      expect([name, distance((fast[name] as typeof array).toNumbers(), expected) / scale < 2e-4]).toEqual([name, true]);
    }
  });

  it("can look at contextLength tokens", async () => {
    expect(model.contextLength).toBe(contextLength);
    expect((await logitsOf({ ids: tokens(8, 1, contextLength) })).logits.shape).toEqual([1, contextLength, vocabSize]);
  });
});

describe("GPT-2", () => {
  it("begins with the variances of the paper: projections into the residual stream smaller by 1/√(2·layers)", () => {
    const model = new GPT2({ vocabSize: 500, nEmbd: 64, nLayer: 8, nHead: 4, nPositions: 32 }).initialize(1);
    const deviation = (path: string) => {
      const data = model.parameters().get(path)?.hostValue().data as Float32Array;
      return Math.sqrt(data.reduce((total, value) => total + value * value, 0) / data.length);
    };
    for (const path of ["wte.weight", "wpe.weight", "h.3.attn.cAttn.weight", "h.3.mlp.cFc.weight"])
      expect(deviation(path) / 0.02).toBeCloseTo(1, 1);
    for (const path of ["h.3.attn.cProj.weight", "h.3.mlp.cProj.weight"]) expect(deviation(path) / 0.02).toBeCloseTo(1 / 4, 1);
    expect(deviation("h.3.attn.cAttn.bias")).toBe(0);
  });

  it("has as many parameters as OpenAI's smallest", () => {
    const count = [...new GPT2({ vocabSize: 50_257 }).parameters().values()].reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    expect(count).toBe(124_439_808);
  });

  it("has dropout in training alone", async () => {
    const model = new GPT2({
      vocabSize,
      nEmbd: 8,
      nLayer: 1,
      nHead: 2,
      nPositions: 8,
      embdPdrop: 0.2,
      attnPdrop: 0.2,
      residPdrop: 0.2,
    });
    const text = (training: boolean) =>
      compile(({ ids }) => ({ y: model.forward(ids) }), { ids: int32(1, 4) }, { engine, training }).toString();
    expect(text(true).match(/bernoulli/g)?.length).toBe(4); // embeddings, weights, attention, feed-forward
    expect(text(false)).not.toMatch(/bernoulli/);
  });

  it.each([
    ["no vocabulary", { vocabSize: 0 }],
    ["a vocabulary of one", { vocabSize: 1 }],
    ["heads that do not share the width", { vocabSize: 5, nEmbd: 10, nHead: 3 }],
  ])("refuses %s", (_, options) => {
    expect(() => new GPT2(options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("Llama", () => {
  const options = { vocabSize, hiddenSize: 12, numHiddenLayers: 1, numAttentionHeads: 2 };

  it("shares the embedding with the output when it is told to", () => {
    const paths = (tieWordEmbeddings: boolean) => [...new Llama({ ...options, tieWordEmbeddings }).parameters().keys()];
    expect(paths(false)).toContain("lmHead.weight");
    expect(paths(true)).toEqual(paths(false).filter((path) => path !== "lmHead.weight"));
  });

  it("has the sizes of Llama 2 with 7 billion parameters", () => {
    const model = new Llama({
      vocabSize: 32_000,
      hiddenSize: 4096,
      intermediateSize: 11_008,
      numHiddenLayers: 32,
      numAttentionHeads: 32,
    });
    const count = [...model.parameters().values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(count).toBe(6_738_415_616);
  });

  it.each([
    ["a vocabulary of one", { ...options, vocabSize: 1 }],
    ["an odd width of heads", { ...options, hiddenSize: 10 }],
    ["a width that heads do not share", { ...options, hiddenSize: 13 }],
    ["query heads that key heads do not divide", { ...options, hiddenSize: 18, numAttentionHeads: 3, numKeyValueHeads: 2 }],
  ])("refuses %s", (_, given) => {
    expect(() => new Llama(given)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
