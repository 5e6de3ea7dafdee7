import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import {
  add,
  cast,
  constant,
  div,
  equal,
  grad,
  type HostArray,
  mul,
  type Parameter,
  reshape,
  sin,
  slice,
  softmax,
  sum,
  type Tensor,
  topK,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { compile, float32 } from "../program/index.js";
import { activations } from "./feed-forward.js";
import { loadBalancingLoss, MixtureOfExperts, type Routing } from "./mixture-of-experts.js";

const engine = await onnxRuntimeNode({ threads: 2 });

const mixture = (experts: number, expertsPerToken: number, normalizeWeights: boolean, sharedExperts = 0) =>
  new MixtureOfExperts({
    ...{
      hiddenSize: 6,
      intermediateSize: 5,
      activation: activations.silu,
      experts,
      expertsPerToken,
      normalizeWeights,
      sharedExperts,
    },
    initializer: (shape, random) => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal() * 0.7),
  }).initialize(5);

/** All experts see all tokens; what was not chosen weighs nothing. */
function densely(block: MixtureOfExperts, x: Tensor, perToken: number, normalize: boolean): Tensor {
  const rows = reshape(x, [-1, 6]);
  const probabilities = softmax(block.gate.forward(rows));
  const { values, indices } = topK(probabilities, perToken);
  const weights = normalize ? div(values, sum(values, { axes: [1], keepDims: true })) : values;
  const each = block.experts.map((expert, e) => {
    const chosen = cast(equal(indices, constant(e, "int64")), "float32");
    return mul(expert.forward(rows), sum(mul(weights, chosen), { axes: [1], keepDims: true }));
  });
  const routed = reshape(
    each.reduce((a, b) => add(a, b)),
    x.shape,
  );
  return block.sharedExperts.reduce((y, expert) => add(y, expert.forward(x)), routed);
}

describe("MixtureOfExperts", () => {
  it("computes what the dense computation of the same experts does, gradients too, whoever is chosen", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 2 }),
        fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 7 })),
        fc.boolean(),
        async (experts, perToken, normalize, shared, [batch, seq], training) => {
          const chosen = Math.min(perToken, experts);
          const block = mixture(experts, chosen, normalize, shared);
          const parameters = [...block.parameters().values()] as Parameter[];
          const outcomes = (y: Tensor, x: Tensor) => grad(sum(mul(sin(y), y)), [x, ...parameters]);
          await using program = compile(
            ({ x }) => {
              const [sparse, dense] = [block.forward(x), densely(block, x, chosen, normalize)];
              const results = [sparse, ...outcomes(sparse, x), dense, ...outcomes(dense, x)];
              return Object.fromEntries(results.map((result, i) => [`r${i}`, result]));
            },
            { x: float32("batch", "seq", 6) },
            { engine, training, specialize: training },
          );
          const random = namedRandom(batch * 10 + seq, "x");
          const x: HostArray<"float32"> = {
            dtype: "float32",
            shape: [batch, seq, 6],
            data: Float32Array.from({ length: batch * seq * 6 }, random.normal),
          };
          const { inside: _, ...results } = (await program({ x })) as unknown as Record<string, HostArray>;
          const all = Object.keys(results).length;
          for (let i = 0; i < all / 2; i++) {
            const [sparse, dense] = [results[`r${i}`], results[`r${i + all / 2}`]] as [HostArray, HostArray];
            expect(sparse.shape).toEqual(dense.shape);
            for (const [j, value] of (sparse.data as Float32Array).entries()) {
              const expected = (dense.data as Float32Array)[j] as number;
              expect(Math.abs(value - expected) / Math.max(1, Math.abs(expected))).toBeLessThan(1e-4);
            }
          }
        },
      ),
      { numRuns: 12 },
    );
  });

  it("gives each expert the rows that chose it, and no more", async () => {
    const block = mixture(4, 2, true);
    await using program = compile(({ x }) => ({ y: block.forward(x) }), { x: float32(1, 10, 6) }, { engine });
    const random = namedRandom(1, "x");
    const x = [Array.from({ length: 10 }, () => Array.from({ length: 6 }, random.normal))];
    const { inside } = await program({ x }, { fetch: ["experts.*.output"] });
    const rows = Object.values(inside as Record<string, HostArray>).map(({ shape }) => shape[0] as number);
    expect(rows).toHaveLength(4);
    expect(rows.reduce((a, b) => a + b)).toBe(20);
  });

  it("has a balancing loss that is least when all experts are used alike", async () => {
    await using program = compile(
      ({ even, skewed }) => {
        const routing = (logits: Tensor): Routing => {
          const probabilities = softmax(logits);
          return { probabilities, chosen: topK(probabilities, 1).indices };
        };
        return {
          even: loadBalancingLoss([routing(even)]),
          skewed: loadBalancingLoss([routing(skewed), routing(slice(skewed, 0, 0, 4))]),
        };
      },
      { even: float32(4, 4), skewed: float32(4, 4) },
      { engine },
    );
    const even = [0, 1, 2, 3].map((token) => [0, 1, 2, 3].map((expert) => (expert === token ? 2 : 0)));
    const skewed = [0, 1, 2, 3].map(() => [30, 0, 0, 0]);
    const results = await program({ even, skewed });
    expect(results.even.item()).toBeCloseTo(1, 5);
    expect(results.skewed.item()).toBeCloseTo(4, 5);
  });

  it("refuses more experts a token than there are", () => {
    expect(() => mixture(2, 3, true)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
