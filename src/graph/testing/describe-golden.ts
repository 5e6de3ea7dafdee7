/** Operators and their gradients against golden files of PyTorch (`reference/operators*.py`). */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../../checkpoint/safetensors-format.js";
import type { Engine } from "../../engine/engine.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { type FloatDType, isFloat } from "../dtype.js";
import type { Graph } from "../graph.js";
import { fromNumbers, type HostArray } from "../host-array.js";
import { input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { difference, loaderFor } from "./compare.js";
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

export interface GoldenOptions {
  /** Runs every case in float32 besides, as programs do. */
  readonly engine?: Engine;
}

/** Tests for each case of a golden file whose operator has a build. */
export function describeGolden(file: string, builds: Readonly<Record<string, Build>>, { engine }: GoldenOptions = {}): void {
  const { cases } = JSON.parse(readFileSync(new URL(`${file}.json`, golden), "utf8")) as { cases: readonly GoldenCase[] };
  const { tensors } = decodeSafetensors(readFileSync(new URL(`${file}.safetensors`, golden)));

  describe.each(cases.filter(({ operator }) => operator in builds))(
    "$name",
    ({ name, operator, attributes, inputs, outputs }) => {
      const array = (kind: string, of: string, float: FloatDType): HostArray => {
        const { dtype, shape, data } = tensors.get(`${name}/${kind}/${of}`) as HostArray;
        return isFloat(dtype) ? fromNumbers(float, shape, data as Float32Array) : ({ dtype, shape, data } as HostArray);
      };
      const wrt = inputs.filter((key) => tensors.has(`${name}/gradient/${key}`));
      /** The case with its gradients, and what it is fed with. */
      const make = (float: FloatDType) => {
        const feeds = new Map(inputs.map((key) => [key, array("input", key, float)]));
        const operands = new Map([...feeds].map(([key, { dtype, shape }]) => [key, input(key, dtype, shape)]));
        const results = (builds[operator] as Build)([...operands.values()], attributes);
        const forward: Graph = { inputs: operands, outputs: new Map(outputs.map((key, i) => [key, results[i] as Tensor])) };
        const { graph, seeds, gradients } = differentiate(forward, wrt);
        for (const seed of seeds) feeds.set(seed, array("upstream", seed.slice("seed:".length), float));
        const expected = new Map([
          ...outputs.map((key) => [key, array("output", key, float)] as const),
          ...wrt.map((key, i) => [gradients[i] as string, array("gradient", key, float)] as const),
        ]);
        return { graph, feeds, expected };
      };

      // The cases were computed in float64.
      it("has the same results and gradients", () => {
        expect(wrt.length).toBeGreaterThan(0);
        const { graph, feeds, expected } = make("float64");
        const values = evaluate(graph, feeds);
        for (const [key, value] of expected) expect(difference(values.get(key) as HostArray, value, 1e-6)).toBeUndefined();
      });

      if (!engine) return;
      it("has them on an engine too", async () => {
        const { graph, feeds, expected } = make("float32");
        const model = await loaderFor(engine)(graph);
        const values = await model.run(feeds);
        await model.release();
        for (const [key, value] of expected) expect(difference(values.get(key) as HostArray, value, 2e-5)).toBeUndefined();
      });
    },
  );

  it("has a case for every operator that is compared", () => {
    expect(Object.keys(builds).filter((name) => !cases.some(({ operator }) => operator === name))).toEqual([]);
  });
}
