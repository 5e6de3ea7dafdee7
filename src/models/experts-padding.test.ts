import { expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { constant, sub } from "../graph/index.js";
import { compile } from "../program/index.js";
import { Llama } from "./decoders/llama.js";

const experts = { count: 4, perToken: 2, intermediateSize: 6, normalizeWeights: true, balancing: 0.5 };

it.each(["model", "text"] as const)("padding does not count where experts are balanced, by the %s", async (balancedBy) => {
  const model = new Llama({
    ...{ vocabSize: 11, hiddenSize: 8, intermediateSize: 8, numHiddenLayers: 2, numAttentionHeads: 2, initializerRange: 0.5 },
    experts: { ...experts, balancedBy },
  }).initialize(3);
  const segments = [
    [1, 1, 1, 1, 0, 0],
    [1, 1, 1, 2, 0, 0],
    [0, 0, 0, 0, 0, 0],
  ];
  const places = { segments: constant(segments, "int32") };
  const keys = constant(
    segments.map((row) => row.map((segment) => segment > 0)),
    "bool",
  );
  const ids = segments.map((row, r) => row.map((_, i) => (3 * i + 5 * r) % 11));
  const labels = segments.map((row) => row.map((segment) => (segment > 0 ? 4 : -100)));
  const balancing = (rows: number, columns: number, options: object) => {
    const part = (x: number[][]) =>
      constant(
        x.slice(0, rows).map((row) => row.slice(0, columns)),
        "int32",
      );
    const { loss, crossEntropy } = model.losses(part(ids), part(labels), options);
    return sub(loss, crossEntropy);
  };
  await using program = compile(
    () => ({
      bare: balancing(2, 4, {
        segments: constant(
          segments.slice(0, 2).map((row) => row.slice(0, 4)),
          "int32",
        ),
      }),
      filled: balancing(3, 6, { segments: places.segments }),
      both: balancing(3, 6, { segments: places.segments, keys }),
      counted: balancing(3, 6, {}),
    }),
    {},
    { engine: referenceEngine(), training: true },
  );
  const { bare, filled, both, counted } = await program({});
  expect(filled.item()).toBeCloseTo(bare.item(), 5);
  expect(both.item()).toBeCloseTo(bare.item(), 5);
  expect(Math.abs(counted.item() - bare.item())).toBeGreaterThan(1e-3);
});
