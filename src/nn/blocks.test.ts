import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { add, constant, type HostArray, hostArray, mul, range, swapAxes, type Tensor, toNumbers, where } from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { formula } from "../models/testing/golden-decoder.js";
import { bool, compile, float32 } from "../program/index.js";
import { alibiSlopes } from "./alibi.js";
import { type AttendOptions, attend, causal } from "./attention.js";
import { CrossAttention } from "./cross-attention.js";
import { activations, Bilinear, FeedForward, type GatedFeedForward, GEGLU, GLU, ReGLU, reluSquared } from "./feed-forward.js";
import { GroupedQueryAttention } from "./grouped-query-attention.js";
import { heNormal, lecunNormal, scaledNormal, truncatedNormal, xavierNormal, xavierUniform } from "./initializers.js";
import { BatchNorm, deepNormConstants, HeadLayerNorm, InstanceNorm, OffsetRMSNorm } from "./norm.js";
import { AdditiveAttention, linearAttention } from "./other-attention.js";
import { RelativeBias } from "./relative-bias.js";
import { parallelBlocks, postNorm, preNorm, sandwichNorm } from "./residual.js";
import { sinusoidalPositions } from "./sinusoidal.js";

const engine = await onnxRuntimeNode({ threads: 1 });
const { tensors } = decodeSafetensors(readFileSync(new URL("../../reference/golden/blocks.safetensors", import.meta.url)));
const golden = (name: string): number[] => [...toNumbers(tensors.get(name) as HostArray)];

function normal(name: string, shape: readonly number[]): HostArray<"float32"> {
  const random = namedRandom(1, name);
  return hostArray("float32", shape, Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random.normal));
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, digits = 5): void {
  expect(actual).toHaveLength(expected.length);
  for (let i = 0; i < expected.length; i++) expect(actual[i]).toBeCloseTo(expected[i] as number, digits);
}

/** What a function makes of nothing but constants and variables. */
async function value(fn: () => Tensor): Promise<HostArray & { toNumbers(): Float64Array }> {
  await using program = compile(() => ({ y: fn() }), {}, { engine });
  return (await program({})).y;
}

const [batch, heads, seq, width] = [2, 4, 5, 3];
const [q, k, v] = [
  normal("q", [batch, heads, seq, width]),
  normal("k", [batch, 2, seq, width]),
  normal("v", [batch, 2, seq, width]),
];

/** Attention in float64, with scores and visibility as told. `sink` is the score of nothing at all. */
function plainly(
  score: (raw: number, head: number, query: number, key: number) => number,
  sink?: (head: number) => number,
): number[] {
  const at = (x: HostArray, b: number, h: number, t: number, i: number) =>
    x.data[((b * (x.shape[1] as number) + h) * seq + t) * width + i] as number;
  const result: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < seq; t++) {
        const kvHead = Math.floor(h / 2);
        const weights = Array.from({ length: seq }, (_, s) => {
          const raw = [0, 1, 2].reduce((sum, i) => sum + at(q, b, h, t, i) * at(k, b, kvHead, s, i), 0) / Math.sqrt(width);
          return Math.exp(score(raw, h, t, s));
        });
        const total = weights.reduce((a, w) => a + w, sink ? Math.exp(sink(h)) : 0);
        for (let i = 0; i < width; i++)
          result.push(weights.reduce((sum, weight, s) => sum + (weight / total) * at(v, b, kvHead, s, i), 0));
      }
  return result;
}

const attended = async (options: AttendOptions) =>
  (await value(() => attend(constant(q), constant(k), constant(v), options))).toNumbers();

const past = (raw: number, t: number, s: number) => (s <= t ? raw : Number.NEGATIVE_INFINITY);

describe("attend", () => {
  it("bends scores by a soft cap", async () => {
    const expected = plainly((raw, _, t, s) => past(0.8 * Math.tanh(raw / 0.8), t, s));
    expectClose(await attended({ mask: causal, softCap: 0.8 }), expected);
  });

  it("subtracts a slope for each position of distance (ALiBi)", async () => {
    const slopes = alibiSlopes(heads);
    expectClose(
      await attended({ mask: causal, slopes }),
      plainly((raw, h, t, s) => past(raw - (slopes[h] as number) * (t - s), t, s)),
    );
    await expect(attended({ slopes: [1] })).rejects.toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("keeps the first keys in sight behind a window", async () => {
    const expected = plainly((raw, _, t, s) => past(t - s < 2 || s < 1 ? raw : Number.NEGATIVE_INFINITY, t, s));
    expectClose(await attended({ mask: { causal: true, window: 2, sinks: 1 } }), expected);
  });

  it("may look at nothing, for a score", async () => {
    const sinkScores = [0.5, -1, 2, 0];
    const expected = plainly(
      (raw, _, t, s) => past(raw, t, s),
      (h) => sinkScores[h] as number,
    );
    expectClose(await attended({ mask: causal, sinkScores: constant(sinkScores) }), expected);
  });

  it("adds biases of heads, queries and keys", async () => {
    const bias = normal("bias", [heads, seq, seq]);
    const expected = plainly((raw, h, t, s) => raw + (bias.data[(h * seq + t) * seq + s] as number));
    expectClose(await attended({ bias: constant(bias) }), expected);
    const shared = normal("shared", [1, seq, seq]);
    expectClose(
      await attended({ bias: constant(shared) }),
      plainly((raw, _, t, s) => raw + (shared.data[t * seq + s] as number)),
    );
  });
});

describe("positions", () => {
  it("ALiBi's slopes are geometric, and for other than powers of two lie between", () => {
    expect(alibiSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
    expect(alibiSlopes(6)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]);
  });

  it.each(["bidirectional", "causal"])("RelativeBias has T5's buckets (%s)", async (direction) => {
    const bidirectional = direction === "bidirectional";
    const bias = new RelativeBias(1, { bidirectional });
    bias.weight.write(
      hostArray(
        "float32",
        [32, 1],
        Float32Array.from({ length: 32 }, (_, bucket) => bucket),
      ),
    );
    const buckets = await value(() => bias.forward(301, 301));
    const expected = golden(`buckets.${direction}`);
    for (const [query, key] of [0, 7, 20, 100, 250, 300].flatMap((a) => [0, 3, 64, 65, 200, 300].map((b) => [a, b] as const)))
      expect(buckets.data[query * 301 + key]).toBe(expected[key - query + 300]);
    // The row of the last query and the column of the first one hold all distances.
    for (let distance = 0; distance <= 300; distance++) {
      expect(buckets.data[300 * 301 + 300 - distance]).toBe(expected[300 - distance]);
      expect(buckets.data[distance]).toBe(expected[300 + distance]);
    }
  });

  it("sines and cosines: a product depends on the distance alone", async () => {
    const table = await value(() => sinusoidalPositions(range(40), 16));
    expect(table.shape).toEqual([40, 16]);
    expectClose([...table.toNumbers().slice(0, 4)], [0, 1, 0, 1]);
    expect(table.data[16]).toBeCloseTo(Math.sin(1), 6);
    expect(table.data[3 * 16 + 3]).toBeCloseTo(Math.cos(3 * 10_000 ** (-2 / 16)), 5);
    const product = (a: number, b: number) =>
      Array.from({ length: 16 }, (_, i) => (table.data[a * 16 + i] as number) * (table.data[b * 16 + i] as number)).reduce(
        (x, y) => x + y,
      );
    expect(product(3, 9)).toBeCloseTo(product(30, 36), 4);
    expect(product(3, 9)).toBeCloseTo(product(36, 30), 4);
  });
});

describe("other attention", () => {
  it("CrossAttention looks at another sequence, and not at its padding", async () => {
    const block = new CrossAttention({ hiddenSize: 6, heads: 2, memorySize: 3 }).initialize(2);
    await using program = compile(
      ({ x, memory, real }) => ({ y: block.forward(x, memory, { mask: { keys: real } }) }),
      { x: float32("batch", "seq", 6), memory: float32("batch", "keys", 3), real: bool("batch", "keys") },
      { engine },
    );
    const x = normal("x", [1, 2, 6]);
    const run = async (memory: HostArray<"float32">, real: number[]) =>
      (await program({ x, memory, real: [real] })).y.toNumbers();
    const memory = normal("memory", [1, 4, 3]);
    const first = hostArray("float32", [1, 3, 3], memory.data.slice(0, 9));
    expectClose(await run(memory, [1, 1, 1, 0]), await run(first, [1, 1, 1]));
    expect(await run(memory, [1, 1, 1, 1])).not.toEqual(await run(first, [1, 1, 1]));
  });

  it("CrossAttention computes the keys and values of a memory once, and uses them in later calls", async () => {
    const options = { hiddenSize: 6, heads: 2, headDim: 4, valueDim: 5, kvHeads: 1, memorySize: 3 };
    const block = new CrossAttention(options).initialize(2);
    await using whole = compile(
      ({ x, memory, real }) => ({ y: block.forward(x, memory, { mask: { keys: real } }) }),
      { x: float32("batch", "seq", 6), memory: float32("batch", "keys", 3), real: bool("batch", "keys") },
      { engine },
    );
    await using once = compile(
      ({ memory }) => ({ ...block.remember(memory) }),
      { memory: float32("batch", "keys", 3) },
      { engine },
    );
    await using later = compile(
      ({ x, keys, values, real }) => ({ y: block.forward(x, { keys, values }, { mask: { keys: real } }) }),
      {
        x: float32("batch", "seq", 6),
        keys: float32("batch", 1, "keys", 4),
        values: float32("batch", 1, "keys", 5),
        real: bool("batch", "keys"),
      },
      { engine },
    );
    const [memory, real] = [normal("memory", [2, 4, 3]), hostArray("bool", [2, 4], Uint8Array.of(1, 1, 1, 0, 0, 1, 1, 1))];
    const { keys, values } = (await once({ memory })) as unknown as Record<"keys" | "values", HostArray<"float32">>;
    for (const seq of [1, 3]) {
      const x = normal(`x${seq}`, [2, seq, 6]);
      const expected = (await whole({ x, memory, real })).y;
      expectClose((await later({ x, keys, values, real })).y.toNumbers(), expected.toNumbers());
    }
  });

  it("GroupedQueryAttention takes biases and masks of its own kind, in both directions", async () => {
    const block = new GroupedQueryAttention({ hiddenSize: 6, heads: 2, kvHeads: 1, headDim: 4, valueDim: 5 }).initialize(2);
    const bias = new RelativeBias(2).initialize(4);
    const [x, visible] = [constant(normal("x", [2, 4, 6])), constant([[true, true, false, true]], "bool")];
    await using program = compile(
      () => {
        const y = block.forward(x, { bias: bias.forward(4, 4), mask: { visible } });
        const hidden = block.forward(x, { bias: where(visible, bias.forward(4, 4), -1e9) });
        return { y, hidden, plain: block.forward(x) };
      },
      {},
      { engine },
    );
    const { y, hidden, plain } = await program({});
    expect(y.shape).toEqual([2, 4, 6]);
    expectClose(y.toNumbers(), hidden.toNumbers());
    expect(y.toNumbers()).not.toEqual(plain.toNumbers());
  });

  it("AdditiveAttention scores by v·tanh(W·q + U·k + b)", async () => {
    const block = new AdditiveAttention(2, 3, 4).initialize(2);
    const [queries, keys] = [normal("queries", [1, 2, 2]), normal("keys", [1, 3, 3])];
    const real = hostArray("bool", [1, 3], Uint8Array.of(1, 0, 1));
    const y = await value(() => block.forward(constant(queries), constant(keys), constant(real)));
    const of = (x: HostArray, ...index: number[]) =>
      x.data[index.reduce((at, i, axis) => at * (x.shape[axis] as number) + i, 0)] as number;
    const [w, u, b, score] = await Promise.all(
      [block.queryProj.weight, block.keyProj.weight, block.keyProj.bias, block.score].map((parameter) => parameter?.read()),
    );
    const expected = [0, 1].flatMap((t) => {
      const weights = [0, 1, 2].map((s) => {
        if (s === 1) return 0;
        const units = [0, 1, 2, 3].map((h) => {
          const fromQuery = [0, 1].reduce((sum, i) => sum + of(w as HostArray, h, i) * of(queries, 0, t, i), 0);
          const fromKey = [0, 1, 2].reduce((sum, i) => sum + of(u as HostArray, h, i) * of(keys, 0, s, i), 0);
          return of(score as HostArray, h) * Math.tanh(fromQuery + fromKey + of(b as HostArray, h));
        });
        return Math.exp(units.reduce((a, x) => a + x));
      });
      const total = weights.reduce((a, x) => a + x);
      return [0, 1, 2].map((i) => weights.reduce((sum, weight, s) => sum + (weight / total) * of(keys, 0, s, i), 0));
    });
    expectClose(y.toNumbers(), expected);
  });

  it("linearAttention is the weighted mean that its feature map says", async () => {
    const [a, b, c] = [normal("a", [1, 2, 4, 3]), normal("b", [1, 2, 4, 3]), normal("c", [1, 2, 4, 2])];
    const y = await value(() => linearAttention(constant(a), constant(b), constant(c)));
    const positive = (x: number) => (x > 0 ? x : Math.expm1(x)) + 1;
    const expected: number[] = [];
    for (let h = 0; h < 2; h++)
      for (let t = 0; t < 4; t++) {
        const weights = Array.from({ length: t + 1 }, (_, s) =>
          [0, 1, 2].reduce(
            (sum, i) => sum + positive(a.data[(h * 4 + t) * 3 + i] as number) * positive(b.data[(h * 4 + s) * 3 + i] as number),
            0,
          ),
        );
        const total = weights.reduce((x, z) => x + z);
        for (let i = 0; i < 2; i++)
          expected.push(weights.reduce((sum, weight, s) => sum + (weight / total) * (c.data[(h * 4 + s) * 2 + i] as number), 0));
      }
    expectClose(y.toNumbers(), expected);
  });
});

describe("norms", () => {
  it.each([false, true])("BatchNorm is PyTorch's, in training and after it; channels first: %s", async (channelsFirst) => {
    const norm = new BatchNorm(3, { epsilon: 0.1, momentum: 0.3, channelsFirst });
    const forward = (x: Tensor) => (channelsFirst ? swapAxes(norm.forward(swapAxes(x, 1, 2)), 1, 2) : norm.forward(x));
    const scaled = (name: string, size: number, shift: number, by: number) =>
      Float32Array.from(formula(name, size), (x) => shift + by * x);
    norm.weight.write(hostArray("float32", [3], scaled("weight", 3, 1, 1)));
    norm.bias.write(hostArray("float32", [3], scaled("bias", 3, 0, 1)));
    const signature = { x: float32("batch", "seq", 3) };
    await using train = compile(({ x }) => ({ y: forward(x) }), signature, { engine, training: true });
    await using evaluate = compile(({ x }) => ({ y: forward(x) }), signature, { engine, training: false });
    const x = hostArray("float32", [2, 5, 3], scaled("input", 30, 0, 4));
    expectClose((await train({ x })).y.toNumbers(), golden("batchNorm.training"));
    expectClose(toNumbers(await norm.runningMean.read()), golden("batchNorm.runningMean"));
    expectClose(toNumbers(await norm.runningVar.read()), golden("batchNorm.runningVar"));
    expectClose((await evaluate({ x })).y.toNumbers(), golden("batchNorm.evaluation"));
  });

  it("InstanceNorm normalizes each channel of each example", async () => {
    const norm = new InstanceNorm(2, { epsilon: 0, affine: true });
    norm.bias?.write(hostArray("float32", [2], Float32Array.of(0, 1)));
    const x = constant([
      [
        [1, 3],
        [10, 30],
      ],
      [
        [5, 9],
        [-2, -4],
      ],
    ]);
    expectClose((await value(() => norm.forward(x))).toNumbers(), [-1, 1, 0, 2, -1, 1, 2, 0]);
    expect([...new InstanceNorm(2).parameters()]).toEqual([]);
  });

  it("OffsetRMSNorm counts its weight from 1; HeadLayerNorm has one for each head", async () => {
    const rms = new OffsetRMSNorm(2, { epsilon: 0 });
    rms.weight.write(hostArray("float32", [2], Float32Array.of(0, 1)));
    expectClose((await value(() => rms.forward(constant([3, 4])))).toNumbers(), [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)]);
    const perHead = new HeadLayerNorm(2, 2, { epsilon: 0 });
    perHead.weight.write(hostArray("float32", [2, 2], Float32Array.of(1, 2, 3, 4)));
    expectClose((await value(() => perHead.forward(constant([[[[1, 3]], [[7, 5]]]])))).toNumbers(), [-1, 2, 3, -4]);
  });

  it("DeepNorm bounds an update of a decoder by the same at every depth: layers · (beta / alpha)² is constant", () => {
    for (const layers of [4, 100, 1000]) {
      const { alpha, beta } = deepNormConstants(layers);
      expect(layers * (beta / alpha) ** 2).toBeCloseTo(0.25, 10);
    }
  });
});

describe("norms around a block", () => {
  const [half, square, plusOne] = [(x: Tensor) => mul(x, 0.5), (x: Tensor) => mul(x, x), (x: Tensor) => add(x, 1)];
  const of = async (fn: (x: Tensor) => Tensor) => (await value(() => fn(constant([2, -6])))).toNumbers();

  it("stand before it, behind the sum, on both sides, or before two at once", async () => {
    expectClose(await of((x) => preNorm(x, half, square)), [2 + 1, -6 + 9]);
    expectClose(await of((x) => postNorm(x, half, square)), [(2 + 4) / 2, (-6 + 36) / 2]);
    expectClose(await of((x) => postNorm(x, half, square, 3)), [(6 + 4) / 2, (-18 + 36) / 2]);
    expectClose(await of((x) => sandwichNorm(x, half, square, plusOne)), [2 + 2, -6 + 10]);
    expectClose(await of((x) => parallelBlocks(x, half, square, plusOne)), [2 + 1 + 2, -6 + 9 - 2]);
  });

  it("may be modules", async () => {
    const norm = new OffsetRMSNorm(2, { epsilon: 0 });
    const scale = Math.sqrt(20); // of 2 and −6
    expectClose(await of((x) => preNorm(x, norm, square)), [2 + (2 / scale) ** 2, -6 + (6 / scale) ** 2]);
  });
});

describe("feed-forward blocks", () => {
  const x = [0.7, -1.3];
  const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

  it.each([
    ["GLU", GLU, sigmoid],
    ["Bilinear", Bilinear, (z: number) => z],
    ["ReGLU", ReGLU, (z: number) => Math.max(0, z)],
    ["GEGLU", GEGLU, (z: number) => z * 0.5 * (1 + erf(z / Math.SQRT2))],
  ] as const)("%s is down(activation(gate(x)) · up(x))", async (_, Block, activation) => {
    const block: GatedFeedForward = new Block(2, 1);
    const set = (linear: { weight: GatedFeedForward["upProj"]["weight"] }, ...values: number[]) =>
      linear.weight.write(hostArray("float32", linear.weight.shape, Float32Array.from(values)));
    set(block.gateProj, 0.5, -0.25);
    set(block.upProj, 1, 2);
    set(block.downProj, 3, -1);
    const y = (await value(() => block.forward(constant(x)))).toNumbers();
    const hidden = activation(0.5 * 0.7 + 0.25 * 1.3) * (0.7 - 2.6);
    expectClose(y, [3 * hidden, -hidden], 4);
  });

  it("FeedForward has biases and any activation", async () => {
    const block = new FeedForward(2, 3, reluSquared).initialize(1);
    expect([...block.parameters().keys()]).toEqual(["upProj.weight", "upProj.bias", "downProj.weight", "downProj.bias"]);
    expectClose((await value(() => reluSquared(constant([-2, 3])))).toNumbers(), [0, 9]);
    expect(Object.keys(activations)).toContain("relu2");
  });
});

/** Abramowitz & Stegun 7.1.26, to 1.5·10⁻⁷. */
function erf(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - poly * Math.exp(-x * x));
}

describe("initial values", () => {
  const deviation = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  const shape = [200, 300];

  it.each([
    ["xavierUniform", xavierUniform(2), 2 * Math.sqrt(2 / 500)],
    ["xavierNormal", xavierNormal(), Math.sqrt(2 / 500)],
    ["heNormal", heNormal(), Math.sqrt(2 / 300)],
    ["lecunNormal", lecunNormal(), Math.sqrt(1 / 300)],
    ["scaledNormal", scaledNormal(0.02, 8), 0.02 / 4],
    ["truncatedNormal", truncatedNormal(1, 2), 0.8796],
  ] as const)("%s has the deviation of its paper", (_, initializer, expected) => {
    const values = initializer(shape, namedRandom(1, "weights"));
    expect(deviation(values) / expected).toBeCloseTo(1, 1);
  });

  it("truncatedNormal stays within its bound; kernels count their field", () => {
    expect(Math.max(...truncatedNormal(0.5, 1.5)([5000], namedRandom(1, "w")))).toBeLessThanOrEqual(0.75);
    expect(deviation(heNormal()([50, 8, 5, 5], namedRandom(1, "w"))) / Math.sqrt(2 / 200)).toBeCloseTo(1, 1);
  });
});
