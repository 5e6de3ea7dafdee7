import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { toCheckpointName } from "../checkpoint/names.js";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { createEngine } from "../engine/registry.js";
import { whyNoBfloat16, whyNoOpenVino } from "../engine/testing/openvino.js";
import { webgpuEngine } from "../engine/testing/webgpu.js";
import {
  add,
  cast,
  constant,
  div,
  equal,
  fromNumbers,
  grad,
  type HostArray,
  hostArray,
  mul,
  type Parameter,
  reshape,
  sin,
  slice,
  softmax,
  sum,
  type Tensor,
  toNumbers,
  topK,
  unsqueeze,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { formula, relativeDifference } from "../models/testing/golden-decoder.js";
import { compile, float32 } from "../program/index.js";
import { activations } from "./feed-forward.js";
import { loadBalancingLoss, MixtureOfExperts, type Routing } from "./mixture-of-experts.js";

const engine = await onnxRuntimeNode({ threads: 2 });
const noOpenVino = await whyNoOpenVino();
const noBfloat16 = await whyNoBfloat16();
const openVino = noOpenVino ? undefined : await createEngine({ engine: "openvino" });
const webgpu = await webgpuEngine();
afterAll(async () => {
  await openVino?.close();
  if (!(webgpu instanceof Error)) await webgpu.close();
});

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

interface Case {
  readonly experts: number;
  readonly perToken: number;
  readonly normalize: boolean;
  readonly shared: number;
  readonly batch: number;
  readonly seq: number;
  /** Concrete sizes, and what training recomputes. */
  readonly training: boolean;
}

/** Results by the sparse path and by the dense computation: the output, and gradients of a loss of it. */
async function bothWays(on: Engine, given: Case, loss: (y: Tensor) => Tensor, precision: "fp32" | "bf16" = "fp32") {
  const { experts, perToken, normalize, shared, batch, seq, training } = given;
  const block = mixture(experts, perToken, normalize, shared);
  const parameters = [...block.parameters().values()] as Parameter[];
  await using program = compile(
    ({ x }) => {
      const results = [block.forward(x), densely(block, x, perToken, normalize)].flatMap((y) => [
        y,
        ...grad(loss(y), [x, ...parameters]),
      ]);
      return Object.fromEntries(results.map((result, i) => [`r${i}`, result]));
    },
    { x: float32("batch", "seq", 6) },
    { engine: on, precision, training, specialize: training },
  );
  const random = namedRandom(batch * 10 + seq, "x");
  const x = hostArray("float32", [batch, seq, 6], Float32Array.from({ length: batch * seq * 6 }, random.normal));
  const { inside: _, ...results } = (await program({ x })) as unknown as Record<string, HostArray>;
  const half = parameters.length + 2;
  return Array.from({ length: half }, (_, i) => {
    const [sparse, dense] = [results[`r${i}`], results[`r${i + half}`]] as [HostArray, HostArray];
    expect(sparse.shape).toEqual(dense.shape);
    return { sparse: toNumbers(sparse), dense: toNumbers(dense) };
  });
}

/** Bent everywhere, so that no error cancels. */
const bent = (y: Tensor): Tensor => sum(mul(sin(y), y));

async function expectEqual(on: Engine, given: Case): Promise<void> {
  for (const { sparse, dense } of await bothWays(on, given, bent))
    for (const [i, value] of sparse.entries()) {
      const expected = dense[i] as number;
      expect(Math.abs(value - expected) / Math.max(1, Math.abs(expected))).toBeLessThan(1e-4);
    }
}

/** Few and many tokens an expert, and experts that no token chooses. */
const cases: readonly Case[] = [
  { experts: 4, perToken: 2, normalize: true, shared: 1, batch: 2, seq: 7, training: false },
  { experts: 6, perToken: 1, normalize: false, shared: 0, batch: 1, seq: 1, training: false },
  { experts: 6, perToken: 1, normalize: false, shared: 2, batch: 1, seq: 2, training: true },
  { experts: 3, perToken: 3, normalize: true, shared: 0, batch: 2, seq: 20, training: true },
];

describe("MixtureOfExperts", () => {
  it("computes what the dense computation of the same experts does, gradients too, whoever is chosen", async () => {
    const size = (max: number) => fc.integer({ min: 1, max });
    const shape = { experts: size(6), perToken: size(3), shared: fc.nat(2), batch: size(2), seq: size(7) };
    await fc.assert(
      fc.asyncProperty(fc.record({ ...shape, normalize: fc.boolean(), training: fc.boolean() }), (given) =>
        expectEqual(engine, { ...given, perToken: Math.min(given.perToken, given.experts) }),
      ),
      { numRuns: 12 },
    );
  });

  describe.skipIf(noOpenVino)("on OpenVINO", () => {
    it.each(cases)("does so with $experts experts, $perToken chosen (training: $training)", (given) =>
      expectEqual(openVino as Engine, given),
    );

    it.skipIf(noBfloat16).each(cases)(
      "does so in bfloat16 as far as that goes, with $experts experts (training: $training)",
      async (given) => {
        const weights = constant([1, 0.5, -0.4, -1, -0.7, 0.3]);
        for (const { sparse, dense } of await bothWays(openVino as Engine, given, (y) => sum(mul(y, weights)), "bf16")) {
          const norm = Math.max(Math.hypot(...dense), 1e-2);
          expect(Math.hypot(...sparse.map((value, i) => value - (dense[i] as number))) / norm).toBeLessThan(0.03);
        }
      },
    );
  });

  describe.skipIf(webgpu instanceof Error)("on WebGPU", () => {
    it.each(cases)("does so with $experts experts, $perToken chosen (training: $training)", (given) =>
      expectEqual(webgpu as Engine, given),
    );
  });

  it("has the outputs and gradients of DeepSeek's mixture with shared experts", async () => {
    const { tensors } = decodeSafetensors(readFileSync(new URL("../../reference/golden/blocks.safetensors", import.meta.url)));
    const golden = (name: string) => tensors.get(`mixture.${name}`) as HostArray;
    const block = new MixtureOfExperts({
      ...{ hiddenSize: 4, intermediateSize: 5, activation: activations.silu, experts: 4, expertsPerToken: 2 },
      ...{ normalizeWeights: false, sharedExperts: 2 },
    });
    const parameters = [...block.parameters()].map(([path, parameter]) => [toCheckpointName(path), parameter] as const);
    for (const [name, parameter] of parameters) parameter.write(golden(`parameter.${name}`));
    const formulaArray = (name: string, scale: number) =>
      fromNumbers(
        "float32",
        [2, 5, 4],
        formula(name, 40).map((value) => scale * value),
      );
    await using program = compile(
      ({ x }) => {
        const output = block.forward(x);
        const loss = sum(mul(output, constant(formulaArray("loss", 1))));
        const gradients = grad(loss, [x, ...parameters.map(([, parameter]) => parameter)]);
        return { output, ...Object.fromEntries(gradients.map((gradient, i) => [`g${i}`, gradient])) };
      },
      { x: float32(2, 5, 4) },
      { engine },
    );
    const results = (await program({ x: formulaArray("input", 4) })) as unknown as Record<string, HostArray>;
    const names = ["output", "gradient.input", ...parameters.map(([name]) => `gradient.${name}`)];
    for (const [i, name] of names.entries()) {
      const actual = results[i === 0 ? "output" : `g${i - 1}`] as HostArray;
      expect(relativeDifference(toNumbers(actual), toNumbers(golden(name))), name).toBeLessThan(1e-5);
    }
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
          const probabilities = softmax(unsqueeze(logits, 0));
          return { probabilities, chosen: topK(probabilities, 1).indices };
        };
        /** The same tokens as two texts, each of which uses half of the experts. */
        const texts = ({ probabilities, chosen }: Routing): Routing => ({
          probabilities: reshape(probabilities, [2, 2, 4]),
          chosen: reshape(chosen, [2, 2, 1]),
        });
        return {
          even: loadBalancingLoss([routing(even)]),
          skewed: loadBalancingLoss([routing(skewed), routing(slice(skewed, 0, 0, 4))]),
          together: loadBalancingLoss([texts(routing(even))]),
          perText: loadBalancingLoss([texts(routing(even))], { perText: true }),
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
    expect(results.together.item()).toBeCloseTo(1, 5);
    const [high, low] = [Math.exp(2) / (Math.exp(2) + 3), 1 / (Math.exp(2) + 3)];
    expect(results.perText.item()).toBeCloseTo(4 * 2 * 0.5 * ((high + low) / 2), 5); // experts · used · share · mean probability
  });

  it("refuses more experts a token than there are", () => {
    expect(() => mixture(2, 3, true)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
