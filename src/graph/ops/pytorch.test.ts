/** Operators whose conventions matter, and their gradients, against PyTorch (`reference/operators.py`). */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../../checkpoint/safetensors-format.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { isFloat } from "../dtype.js";
import type { Graph } from "../graph.js";
import type { HostArray } from "../host-array.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { difference } from "../testing/compare.js";
import { differentiate } from "../testing/op-graph.js";
import { gelu, geluTanh, silu } from "./activation.js";
import { cos, mul, sin, softplus } from "./arithmetic.js";
import { cast } from "./cast.js";
import { type ConvTransposeOptions, conv1d, conv2d, convTranspose1d, convTranspose2d } from "./conv.js";
import { cumulativeSum } from "./cumulative.js";
import { type CrossEntropyOptions, crossEntropy } from "./loss.js";
import { groupNorm, layerNorm, type NormOptions, rmsNorm } from "./norm.js";
import { type AvgPoolOptions, avgPool1d, avgPool2d, type MaxPoolOptions, maxPool1d, maxPool2d } from "./pool.js";
import { rope } from "./rope.js";
import { flatten, reshape } from "./shape.js";
import { topK } from "./topk.js";

interface GoldenCase {
  readonly name: string;
  readonly operator: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

const golden = new URL("../../../reference/golden/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("operators.json", golden), "utf8")) as { cases: readonly GoldenCase[] };
const { tensors } = decodeSafetensors(readFileSync(new URL("operators.safetensors", golden)));

type Build = (inputs: readonly Tensor[], attributes: GoldenCase["attributes"]) => readonly Tensor[];

type Convolution = (x: Tensor, weight: Tensor, bias: Tensor | undefined, options: ConvTransposeOptions) => Tensor;

const convolution =
  (convolve: Convolution): Build =>
  ([x, weight, bias], options) => [convolve(x as Tensor, weight as Tensor, bias, options as ConvTransposeOptions)];

const pool =
  (pooling: (x: Tensor, options: MaxPoolOptions & AvgPoolOptions) => Tensor): Build =>
  ([x], options) => [pooling(x as Tensor, options as unknown as MaxPoolOptions & AvgPoolOptions)];

const builds: Readonly<Record<string, Build>> = {
  conv1d: convolution(conv1d),
  conv2d: convolution(conv2d),
  convTranspose1d: convolution(convTranspose1d),
  convTranspose2d: convolution(convTranspose2d),
  maxPool1d: pool(maxPool1d),
  maxPool2d: pool(maxPool2d),
  avgPool1d: pool(avgPool1d),
  avgPool2d: pool(avgPool2d),
  layerNorm: ([x, weight, bias], options) => [layerNorm(x as Tensor, weight, bias, options as NormOptions)],
  rmsNorm: ([x, weight], options) => [rmsNorm(x as Tensor, weight, options as NormOptions)],
  groupNorm: ([x, weight, bias], options) => [
    groupNorm(x as Tensor, options.groups as number, weight, bias, options as NormOptions),
  ],
  gelu: ([x], { approximate }) => [(approximate === "tanh" ? geluTanh : gelu)(x as Tensor)],
  silu: ([x]) => [silu(x as Tensor)],
  softplus: ([x]) => [softplus(x as Tensor)],
  crossEntropy([logits, labels], options) {
    const loss = crossEntropy(logits as Tensor, labels as Tensor, options as CrossEntropyOptions);
    return [loss.rank === 0 ? loss : flatten(loss)]; // PyTorch was given rows
  },
  rope([q, positions], { theta, headDim }) {
    const size = headDim as number;
    const frequencies = constant(
      Array.from({ length: size / 2 }, (_, i) => (theta as number) ** ((-2 * i) / size)),
      "float64",
    );
    const [batch, seq] = (positions as Tensor).shape as [number, number];
    const angles = mul(reshape(cast(positions as Tensor, "float64"), [batch, 1, seq, 1]), frequencies);
    return [rope(q as Tensor, cos(angles), sin(angles))];
  },
  cumsum: ([x], { axis }) => [cumulativeSum(x as Tensor, axis as number)],
  topK([x], { k, axis, largest }) {
    const { values, indices } = topK(x as Tensor, k as number, axis as number, { largest: largest as boolean });
    return [values, cast(indices, "int32")];
  },
};

describe.each(cases.filter(({ operator }) => operator in builds))("$name", ({ name, operator, attributes, inputs, outputs }) => {
  const array = (kind: string, of: string): HostArray => tensors.get(`${name}/${kind}/${of}`) as HostArray;
  const given = new Map(inputs.map((key) => [key, array("input", key)]));
  // The cases were computed in float64.
  const operands = new Map(
    [...given].map(([key, { dtype, shape }]) => [key, input(key, isFloat(dtype) ? "float64" : dtype, shape)]),
  );
  const results = (builds[operator] as Build)([...operands.values()], attributes);
  const graph: Graph = { inputs: operands, outputs: new Map(outputs.map((key, i) => [key, results[i] as Tensor])) };
  const asFloat64 = (value: HostArray): HostArray =>
    isFloat(value.dtype) ? { dtype: "float64", shape: value.shape, data: Float64Array.from(value.data as Float32Array) } : value;
  const feeds = new Map([...given].map(([key, value]) => [key, asFloat64(value)]));

  it("has the same results", () => {
    const values = evaluate(graph, feeds);
    for (const key of outputs)
      expect(difference(values.get(key) as HostArray, asFloat64(array("output", key)), 1e-6)).toBeUndefined();
  });

  it("has the same gradients", () => {
    const wrt = inputs.filter((key) => tensors.has(`${name}/gradient/${key}`));
    expect(wrt.length).toBeGreaterThan(0);
    const { graph: withGradients, seeds, gradients } = differentiate(graph, wrt);
    for (const seed of seeds) feeds.set(seed, asFloat64(array("upstream", seed.slice("seed:".length))));
    const values = evaluate(withGradients, feeds, { outputs: gradients });
    for (const [i, key] of wrt.entries())
      expect(
        difference(values.get(gradients[i] as string) as HostArray, asFloat64(array("gradient", key)), 1e-6),
      ).toBeUndefined();
  });
});

it("has a case for every operator that is compared", () => {
  expect(Object.keys(builds).filter((name) => !cases.some(({ operator }) => operator === name))).toEqual([]);
});
