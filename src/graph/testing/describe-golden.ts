/** Operators and their gradients against golden files of PyTorch (`reference/operators*.py`). */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../../checkpoint/safetensors-format.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { isFloat } from "../dtype.js";
import type { Graph } from "../graph.js";
import type { HostArray } from "../host-array.js";
import { input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { difference } from "./compare.js";
import { differentiate } from "./op-graph.js";

export interface GoldenCase {
  readonly name: string;
  readonly operator: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** How a case is said here: from its inputs, in order, to its outputs. */
export type Build = (inputs: readonly Tensor[], attributes: GoldenCase["attributes"]) => readonly Tensor[];

const golden = new URL("../../../reference/golden/", import.meta.url);

/** A test for each case of a golden file whose operator has a build. */
export function describeGolden(file: string, builds: Readonly<Record<string, Build>>): void {
  const { cases } = JSON.parse(readFileSync(new URL(`${file}.json`, golden), "utf8")) as { cases: readonly GoldenCase[] };
  const { tensors } = decodeSafetensors(readFileSync(new URL(`${file}.safetensors`, golden)));

  describe.each(cases.filter(({ operator }) => operator in builds))(
    "$name",
    ({ name, operator, attributes, inputs, outputs }) => {
      const array = (kind: string, of: string): HostArray => tensors.get(`${name}/${kind}/${of}`) as HostArray;
      const given = new Map(inputs.map((key) => [key, array("input", key)]));
      // The cases were computed in float64.
      const operands = new Map(
        [...given].map(([key, { dtype, shape }]) => [key, input(key, isFloat(dtype) ? "float64" : dtype, shape)]),
      );
      const results = (builds[operator] as Build)([...operands.values()], attributes);
      const graph: Graph = { inputs: operands, outputs: new Map(outputs.map((key, i) => [key, results[i] as Tensor])) };
      const asFloat64 = (value: HostArray): HostArray =>
        isFloat(value.dtype)
          ? { dtype: "float64", shape: value.shape, data: Float64Array.from(value.data as Float32Array) }
          : value;
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
    },
  );

  it("has a case for every operator that is compared", () => {
    expect(Object.keys(builds).filter((name) => !cases.some(({ operator }) => operator === name))).toEqual([]);
  });
}
