import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { elementCount } from "../graph/host-array.js";
import {
  concat,
  constant,
  grad,
  type HostArray,
  hostArray,
  mul,
  type Node,
  nodesOf,
  sin,
  sum,
  type Tensor,
  Variable,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { bool, compile, float32 } from "../program/index.js";
import { type AttendOptions, attend, causal, type LayerCache, type Mask, mergeHeads, splitHeads } from "./attention.js";
import { attentionBlocks, BLOCK, STRETCH } from "./attention-blocks.js";

const engine = await onnxRuntimeNode({ threads: 2 });

type Shape4 = readonly [number, number, number, number];

function normal(name: string, shape: readonly number[]): HostArray<"float32"> {
  const random = namedRandom(1, name);
  return hostArray("float32", shape, Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random.normal));
}

const variable = (name: string, shape: readonly number[]): Variable =>
  new Variable(shape, { name, initializer: () => normal(name, shape).data });

/** Largest difference between arrays of one shape. */
function distance(a: HostArray, b: HostArray): number {
  expect(a.shape).toEqual(b.shape);
  return (a.data as Float32Array).reduce((most, value, i) => Math.max(most, Math.abs(value - (b.data[i] as number))), 0);
}

/** Attention as the paper has it, one query at a time, in float64. */
function plainly(
  q: HostArray,
  k: HostArray,
  v: HostArray,
  visible: (batch: number, query: number, key: number) => boolean,
  scale = 1 / Math.sqrt(q.shape[3] as number),
): HostArray<"float32"> {
  const [batch, heads, seq, width] = q.shape as unknown as Shape4;
  const [, kvHeads, keys] = k.shape as unknown as Shape4;
  const result = new Float32Array(batch * heads * seq * width);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < seq; t++) {
        const query = ((b * heads + h) * seq + t) * width;
        const keyHead = (b * kvHeads + Math.floor(h / (heads / kvHeads))) * keys;
        const seen = Array.from({ length: keys }, (_, s) => s).filter((s) => visible(b, t, s));
        const weights = seen.map((s) => {
          let score = 0;
          for (let i = 0; i < width; i++) score += (q.data[query + i] as number) * (k.data[(keyHead + s) * width + i] as number);
          return Math.exp(score * scale);
        });
        const total = weights.reduce((a, w) => a + w, 0);
        for (const [n, s] of seen.entries())
          for (let i = 0; i < width; i++)
            result[query + i] =
              (result[query + i] as number) + ((weights[n] as number) / total) * (v.data[(keyHead + s) * width + i] as number);
      }
  return hostArray("float32", q.shape, result);
}

const sizes = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  seq: fc.integer({ min: 1, max: 9 }),
  headDim: fc.integer({ min: 1, max: 5 }),
});

describe("attend", () => {
  it("is softmax(q·kᵀ/√d)·v over what the mask lets be seen", async () => {
    await fc.assert(
      fc.asyncProperty(
        sizes,
        fc.nat({ max: 4 }),
        fc.boolean(),
        fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
        fc.option(fc.double({ min: 0.1, max: 2, noNaN: true }), { nil: undefined }),
        async ({ batch, group, kvHeads, seq, headDim }, past, isCausal, window, scale) => {
          const q = normal("q", [batch, group * kvHeads, seq, headDim]);
          const [k, v] = [normal("k", [batch, kvHeads, past + seq, headDim]), normal("v", [batch, kvHeads, past + seq, headDim])];
          const mask: Mask = { causal: isCausal, ...(window === undefined ? {} : { window }) };
          await using program = compile(
            // Heads and width are known to models; batch, seq and keys are not.
            (inputs) => ({ y: attend(inputs.q, inputs.k, inputs.v, { mask, ...(scale === undefined ? {} : { scale }) }) }),
            {
              q: float32("batch", group * kvHeads, "seq", headDim),
              k: float32("batch", kvHeads, "past + seq", headDim),
              v: float32("batch", kvHeads, "past + seq", headDim),
              past: float32("past"),
            },
            { engine },
          );
          const { y } = await program({ q, k, v, past: normal("past", [past]) });
          const visible = (_: number, query: number, key: number) =>
            (!isCausal || key <= past + query) && (window === undefined || past + query - key < window);
          expect(distance(y, plainly(q, k, v, visible, scale))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("does not look at padding", async () => {
    await using program = compile(
      ({ q, k, v, real }) => ({ y: attend(q, k, v, { mask: { causal: true, keys: real } }) }),
      {
        q: float32("batch", 2, "seq", 3),
        k: float32("batch", 2, "seq", 3),
        v: float32("batch", 2, "seq", 3),
        real: bool("batch", "seq"),
      },
      { engine },
    );
    const [q, k, v] = ["q", "k", "v"].map((name) => normal(name, [2, 2, 5, 3])) as [
      HostArray<"float32">,
      HostArray<"float32">,
      HostArray<"float32">,
    ];
    const real = [
      [1, 1, 1, 0, 0],
      [0, 0, 1, 1, 1],
    ];
    const { y } = await program({ q, k, v, real });
    const expected = plainly(q, k, v, (b, t, s) => s <= t && real[b]?.[s] === 1);
    // The first two queries of the second row see nothing: their result means nothing, but is finite.
    for (const [i, value] of (y.data as Float32Array).entries()) {
      const [b, t] = [Math.floor(i / 30), Math.floor(i / 3) % 5];
      if (b === 1 && t < 2) expect(Number.isFinite(value)).toBe(true);
      else expect(value).toBeCloseTo(expected.data[i] as number, 5);
    }
  });

  it("appends to a cache, and then sees what it holds: decoding step by step equals all at once", async () => {
    const [q, k, v] = ["q", "k", "v"].map((name) => normal(name, [1, 2, 6, 4])) as [
      HostArray<"float32">,
      HostArray<"float32">,
      HostArray<"float32">,
    ];
    const expected = plainly(q, k, v, (_, t, s) => s <= t);
    await using step = compile(
      (inputs) => {
        let all = { keys: inputs.pastK, values: inputs.pastV };
        const cache: LayerCache = {
          append(keys, values) {
            all = { keys: concat([all.keys, keys], 2), values: concat([all.values, values], 2) };
            return all;
          },
        };
        return { y: attend(inputs.q, inputs.k, inputs.v, { mask: causal, cache }), ...all };
      },
      {
        q: float32(1, 2, "seq", 4),
        k: float32(1, 2, "seq", 4),
        v: float32(1, 2, "seq", 4),
        pastK: float32(1, 2, "past", 4),
        pastV: float32(1, 2, "past", 4),
      },
      { engine },
    );
    const part = (x: HostArray<"float32">, from: number, to: number) =>
      hostArray(
        "float32",
        [1, 2, to - from, 4],
        x.data.filter((_, i) => Math.floor(i / 4) % 6 >= from && Math.floor(i / 4) % 6 < to),
      );
    let past = { keys: part(k, 0, 0) as HostArray, values: part(v, 0, 0) as HostArray };
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 6],
    ] as const) {
      const results = (await step({
        q: part(q, from, to),
        k: part(k, from, to),
        v: part(v, from, to),
        pastK: past.keys as HostArray<"float32">,
        pastV: past.values as HostArray<"float32">,
      })) as unknown as Record<"y" | "keys" | "values", HostArray>;
      expect(distance(results.y, part(expected, from, to))).toBeLessThan(1e-6);
      past = results;
    }
    expect(past.keys).toMatchObject({ shape: [1, 2, 6, 4], data: k.data });
  });

  it("refuses heads that cannot share keys, and other ranks", () => {
    const of = (...shape: number[]) => variable("x", shape);
    expect(() => attend(of(1, 3, 2, 4), of(1, 2, 2, 4), of(1, 2, 2, 4))).toThrow(
      expect.objectContaining({ code: "SHAPE", message: expect.stringMatching(/3 query heads cannot share 2 key heads/) }),
    );
    expect(() => attend(of(3, 2, 4), of(3, 2, 4), of(3, 2, 4))).toThrow(expect.objectContaining({ code: "SHAPE" }));
    expect(() => splitHeads(of(1, 2, 7), 3)).toThrow(
      expect.objectContaining({ code: "SHAPE", message: expect.stringMatching(/heads of 3/) }),
    );
  });

  it("drops weights in training and keeps their mean", async () => {
    const shape = [1, 2, 40, 4] as const;
    const [q, k] = [normal("q", shape), normal("k", shape)];
    const v = hostArray("float32", shape, new Float32Array(320).fill(1));
    const values = async (training: boolean) => {
      await using program = compile(
        (inputs) => ({ y: attend(inputs.q, inputs.k, inputs.v, { dropout: 0.5 }) }),
        signature4(shape),
        {
          engine,
          training,
        },
      );
      return (await program({ q, k, v })).y.toNumbers();
    };
    for (const value of await values(false)) expect(value).toBeCloseTo(1, 5);
    const dropped = await values(true);
    expect(new Set(dropped).size).toBeGreaterThan(40);
    // 80 rows whose results have a standard deviation of about 0.27 each.
    expect(Math.abs(dropped.reduce((a, b) => a + b) / dropped.length - 1)).toBeLessThan(0.15);
  });
});

const signature4 = (shape: Shape4) => ({ q: float32(...shape), k: float32(...shape), v: float32(...shape) });

describe("heads", () => {
  it("split and merged again are what they were", async () => {
    await using program = compile(
      ({ x }) => {
        const heads = splitHeads(x, 3);
        return { heads, merged: mergeHeads(heads) };
      },
      { x: float32("batch", "seq", 12) },
      { engine },
    );
    const x = normal("x", [2, 5, 12]);
    const { heads, merged } = await program({ x });
    expect(heads.shape).toEqual([2, 4, 5, 3]);
    expect(heads.data.slice(0, 3)).toEqual(x.data.slice(0, 3));
    expect(heads.data.slice(15, 18)).toEqual(x.data.slice(3, 6));
    expect(merged).toMatchObject({ shape: x.shape, data: x.data });
  });
});

/** Those of a block are exponentials before they are divided; their other exponentials are one number a row. */
const givesWeights = ({ op, outputs: [output] }: Node): boolean =>
  op.name === "softmax" || (op.name === "exp" && output?.size(-1) !== 1);

describe("attention in blocks", () => {
  /** Output and gradients of a training program: in blocks, or whole when the weights are asked for. */
  async function run(shape: Shape4, kvHeads: number, whole: boolean, options: AttendOptions = { mask: causal }) {
    const [batch, heads, seq, headDim] = shape;
    const q = variable("q", [batch, heads, seq, headDim]);
    const [k, v] = [variable("k", [batch, kvHeads, seq, headDim]), variable("v", [batch, kvHeads, seq, headDim])];
    const traced: Tensor[] = [];
    await using program = compile(
      () => {
        const y = attend(q, k, v, options);
        traced.push(y);
        const loss = sum(mul(sin(y), y));
        const [dq, dk, dv] = grad(loss, [q, k, v]) as [Tensor, Tensor, Tensor];
        return { y, dq, dk, dv };
      },
      {},
      { engine, training: true },
    );
    const { inside: _, ...results } = await program({}, { fetch: whole ? ["weights"] : [] });
    const widest = Math.max(
      ...nodesOf(traced.slice(-1)).flatMap((node) => (givesWeights(node) ? [node.outputs[0]?.size(-2) as number] : [])),
    );
    return { results, widest };
  }

  it.each([
    [[1, 1, BLOCK + 1, 2], 1],
    [[2, 2, 2 * BLOCK, 3], 2],
    [[1, 4, 2 * BLOCK + 44, 4], 2],
    [[2, 6, BLOCK + 72, 2], 1],
    [[1, 3, 3 * BLOCK - 1, 5], 3],
  ] as readonly [Shape4, number][])(
    "of %j with %i key heads has the values and gradients of the whole",
    async (shape, kvHeads) => {
      const [blocks, whole] = [await run(shape, kvHeads, false), await run(shape, kvHeads, true)];
      const [, heads, seq] = shape;
      expect(whole.widest).toBe(seq);
      expect(blocks.widest).toBe(Math.min(seq, BLOCK) * (heads / kvHeads)); // it did go by blocks
      for (const [name, array] of Object.entries(whole.results) as [keyof typeof whole.results, HostArray][]) {
        const scale = Math.max(1, ...(array.data as Float32Array).map(Math.abs));
        expect(distance(blocks.results[name], array) / scale).toBeLessThan(2e-5);
      }
    },
  );

  const real = hostArray(
    "bool",
    [2, 2 * BLOCK + 44],
    Uint8Array.from({ length: 2 * (2 * BLOCK + 44) }, (_, i) => Number(!((i >= 290 && i < 300) || (i >= 320 && i < 330)))),
  );
  const documents = hostArray(
    "int32",
    [2, 2 * BLOCK + 44],
    Int32Array.from({ length: 2 * (2 * BLOCK + 44) }, (_, i) => Math.floor(i / 90)),
  );
  const window = { causal: true, window: BLOCK - 9 };

  it.each([
    ["a narrow window", () => ({ mask: { causal: true, window: 5 } })],
    ["a window of some blocks", () => ({ mask: { causal: true, window: BLOCK + 3 } })],
    ["a window of one block", () => ({ mask: { causal: true, window: BLOCK } })],
    ["padding", () => ({ mask: { causal: true, keys: constant(real) } })],
    ["padding and a window", () => ({ mask: { ...window, keys: constant(real) } })],
    ["documents and a window", () => ({ mask: { ...window, segments: constant(documents) } })],
    ["a soft cap", () => ({ mask: causal, softCap: 0.7 })],
    ["a soft cap and a window", () => ({ mask: window, softCap: 0.7 })],
    ["linear biases", () => ({ mask: causal, slopes: [0.5, 0.1, 0.02, 0.01] })],
    ["linear biases and a window", () => ({ mask: window, slopes: [0.5, 0.1, 0.02, 0.01] })],
  ] as readonly (readonly [string, () => AttendOptions])[])(
    "with %s has the values and gradients of the whole",
    async (_, make) => {
      const shape: Shape4 = [2, 4, 2 * BLOCK + 44, 3];
      const [blocks, whole] = [await run(shape, 2, false, make()), await run(shape, 2, true, make())];
      expect([whole.widest, blocks.widest]).toEqual([shape[2], 2 * BLOCK]);
      for (const [name, array] of Object.entries(whole.results) as [keyof typeof whole.results, HostArray][]) {
        const scale = Math.max(1, ...(array.data as Float32Array).map(Math.abs));
        expect(distance(blocks.results[name], array) / scale).toBeLessThan(2e-5);
      }
    },
  );

  it("meets every key that a query may see once", () => {
    const sequences = fc.record({
      seq: fc.integer({ min: 1, max: 5 * STRETCH }),
      window: fc.option(fc.integer({ min: 1, max: 3 * STRETCH }), { nil: undefined }),
    });
    fc.assert(
      fc.property(sequences, ({ seq, window = seq }) => {
        const blocks = attentionBlocks(seq, seq, { causal: true, window });
        expect(blocks.map(({ start }) => start)).toEqual([0, ...blocks.slice(0, -1).map(({ end }) => end)]);
        expect(blocks.at(-1)?.end).toBe(seq);
        for (const { start, end, keys } of blocks) {
          expect(keys[0]?.start).toBeLessThanOrEqual(Math.max(0, start - window + 1));
          expect(keys.slice(1).map((stretch) => stretch.start)).toEqual(keys.slice(0, -1).map((stretch) => stretch.end));
          expect(keys.at(-1)?.end).toBe(end);
          for (const stretch of keys) expect(stretch.end - stretch.start).toBeLessThanOrEqual(STRETCH);
        }
      }),
    );
  });

  const long: Shape4 = [1, 2, 2 * STRETCH + 300, 2];
  const someReal = hostArray(
    "bool",
    [1, long[2]],
    Uint8Array.from({ length: long[2] }, (_, i) => Number(i % 900 < 860)),
  );
  const longDocuments = hostArray(
    "int32",
    [1, long[2]],
    Int32Array.from({ length: long[2] }, (_, i) => Math.floor(i / 1500)),
  );

  it.each([
    ["nothing else", () => ({ mask: causal })],
    ["a window of one stretch", () => ({ mask: { causal: true, window: STRETCH / 2 } })],
    ["a window of some stretches", () => ({ mask: { causal: true, window: STRETCH + 500 } })],
    ["padding", () => ({ mask: { causal: true, keys: constant(someReal) } })],
    ["documents", () => ({ mask: { causal: true, segments: constant(longDocuments) } })],
    ["a soft cap", () => ({ mask: causal, softCap: 0.7 })],
    ["linear biases", () => ({ mask: causal, slopes: [0.01, 0.002] })],
  ] as readonly (readonly [string, () => AttendOptions])[])(
    "over stretches of keys, with %s, has the values and gradients of the whole",
    async (_, make) => {
      const [blocks, whole] = [await run(long, 1, false, make()), await run(long, 1, true, make())];
      for (const [name, array] of Object.entries(whole.results) as [keyof typeof whole.results, HostArray][]) {
        const scale = Math.max(1, ...(array.data as Float32Array).map(Math.abs));
        expect(distance(blocks.results[name], array) / scale).toBeLessThan(2e-5);
      }
    },
  );

  it("does not multiply what lies behind the window", async () => {
    const products = (mask: Mask) => {
      const x = variable("x", [1, 1, 8 * BLOCK, 2]);
      let size = 0;
      compile(
        () => {
          const y = attend(x, x, x, { mask });
          for (const node of nodesOf([y]))
            if (givesWeights(node)) size += elementCount(node.outputs[0]?.shape as readonly number[]);
          return { y };
        },
        {},
        { engine, training: true },
      );
      return size / BLOCK ** 2;
    };
    expect(products(causal)).toBe(36);
    expect(products({ causal: true, window: BLOCK })).toBe(15);
    expect(products({ causal: true, window: 1 })).toBe(8);
  });

  it("is not used where it would not help or be wrong", async () => {
    const weights = (shape: Shape4, options: Parameters<typeof attend>[3], training = true) => {
      let found = 0;
      const x = variable("x", shape);
      compile(
        () => {
          const y = attend(x, x, x, options);
          found = nodesOf([y]).filter(givesWeights).length;
          return { y };
        },
        {},
        { engine, training },
      );
      return found;
    };
    const few: Shape4 = [1, 1, 3 * BLOCK, 2];
    expect(weights(few, { mask: causal })).toBe(3);
    expect(weights(few, { mask: causal }, false)).toBe(3); // validation is as thrifty as training
    expect(weights([1, 1, BLOCK, 2], { mask: causal })).toBe(1);
    // Where nothing bounds the keys, blocks only save memory.
    const [shorter, longer]: Shape4[] = [
      [1, 1, 4 * BLOCK, 2],
      [1, 1, 5 * BLOCK, 2],
    ];
    expect(weights(shorter as Shape4, {})).toBe(1);
    expect(weights(shorter as Shape4, {}, false)).toBe(4);
    expect(weights(longer as Shape4, { dropout: 0.1 })).toBe(5);
    expect(weights([1, 1, 2 * BLOCK, 2], {}, false)).toBe(1);
  });
});
