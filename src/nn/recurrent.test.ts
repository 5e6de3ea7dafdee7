import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { constant, grad, type HostArray, mean, mul, square, sub, sum, toNumbers } from "../graph/index.js";
import { RecurrentLM } from "../models/decoders/recurrent-lm.js";
import { formula, relativeDifference } from "../models/testing/golden-decoder.js";
import { AdamW } from "../optim/index.js";
import { compile, float32, int32 } from "../program/index.js";
import { Linear } from "./linear.js";
import { Module } from "./module.js";
import { type CellKind, Recurrent } from "./recurrent.js";

const engine = await onnxRuntimeNode({ threads: 2 });
const { tensors } = decodeSafetensors(readFileSync(new URL("../../reference/golden/blocks.safetensors", import.meta.url)));
const golden = (name: string): Float64Array => toNumbers(tensors.get(name) as HostArray);

const [batch, seq, input, hidden] = [2, 5, 3, 4];

const scaled = (name: string, shape: readonly number[], by: number): HostArray<"float32"> => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(
    formula(
      name,
      shape.reduce((a, b) => a * b, 1),
    ),
    (value) => by * value,
  ),
});

describe.each([
  ["rnn", {}],
  ["gru", { layers: 2, bidirectional: true }],
  ["lstm", { layers: 2, bidirectional: true }],
] as const)("%s", (kind, options) => {
  it("computes the outputs and gradients of PyTorch", async () => {
    const network = new Recurrent(kind, input, hidden, options);
    const named = network.layers.flatMap((directions, layer) =>
      directions.flatMap((direction, reverse) =>
        (["weightIh", "weightHh", "biasIh", "biasHh"] as const).map((property) => {
          const name = `${property.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`)}_l${layer}${reverse ? "_reverse" : ""}`;
          direction[property].write(scaled(name, direction[property].shape, 2));
          return [name, direction[property]] as const;
        }),
      ),
    );
    await using program = compile(
      ({ x }) => {
        const output = network.forward(x);
        const weights = constant(scaled("loss", [batch, seq, network.outputSize], 1));
        const gradients = grad(
          sum(mul(output, weights)),
          named.map(([, parameter]) => parameter),
        );
        return { output, ...Object.fromEntries(gradients.map((gradient, i) => [`g${i}`, gradient])) };
      },
      { x: float32(batch, seq, input) },
      { engine },
    );
    const { output, ...gradients } = (await program({ x: scaled("input", [batch, seq, input], 4) })) as unknown as Record<
      string,
      HostArray
    >;
    for (const [i, value] of toNumbers(output as HostArray).entries())
      expect(value).toBeCloseTo(golden(`${kind}.output`)[i] as number, 5);
    for (const [i, [name]] of named.entries())
      expect(
        relativeDifference(toNumbers(gradients[`g${i}`] as HostArray), golden(`${kind}.gradient.${name}`)),
        name,
      ).toBeLessThan(1e-5);
  });
});

describe("a character language model", () => {
  it.each(["rnn", "gru", "lstm"] satisfies CellKind[])(
    "learns a text with %s, reads sequences of any length, and is causal",
    async (cell) => {
      const text = "abcabdabcabd".repeat(3);
      const ids = [...text].map((character) => character.charCodeAt(0) - 97);
      const model = new RecurrentLM({ vocabSize: 4, cell, hiddenSize: 24, layers: 2 }).initialize(1);
      const optimizer = new AdamW(model);
      await using step = compile(
        ({ ids, labels }) => {
          const loss = model.loss(ids, labels);
          optimizer.update(loss, { learningRate: 0.03 });
          return { loss };
        },
        { ids: int32("batch", "seq"), labels: int32("batch", "seq") },
        { engine },
      );
      let last = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 130; i++) last = (await step({ ids: [ids.slice(0, -1)], labels: [ids.slice(1)] })).loss.item();
      expect(last).toBeLessThan(0.15); // three characters back decide whether c or d comes: without, it stays at ln 2 / 3 = 0.23
      await using look = compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: int32("batch", "seq") }, { engine });
      const logits = async (row: number[]) => (await look({ ids: [row] })).logits.toNumbers();
      const [long, short] = [await logits([0, 1, 2, 0, 1, 3]), await logits([0, 1, 2])];
      for (const [i, value] of short.entries()) expect(long[i]).toBeCloseTo(value, 5);
      expect(() =>
        compile(({ ids, documents }) => ({ y: model.forward(ids, { segments: documents }) }), {
          ids: int32(1, 4),
          documents: int32(1, 4),
        }),
      ).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    },
  );
});

/** What follows a window of a series. */
class Forecaster extends Module {
  readonly network = new Recurrent("gru", 1, 12);
  readonly output = new Linear(12, 1);

  /** x [batch, seq, 1] → [batch, seq, 1]: the next value at each place */
  forward(x: Parameters<Recurrent["forward"]>[0]) {
    return this.output.forward(this.network.forward(x));
  }
}

describe("a forecast", () => {
  it("of a series that is not seen in training is far better than that nothing changes", async () => {
    const series = Array.from({ length: 240 }, (_, t) => Math.sin(t / 3) + 0.5 * Math.sin(t / 1.7 + 1));
    const model = new Forecaster().initialize(3);
    const optimizer = new AdamW(model);
    const error = ({ x, y }: { readonly x: Parameters<Forecaster["forward"]>[0]; readonly y: typeof x }) =>
      mean(square(sub(model.forward(x), y)));
    const signature = { x: float32("batch", "seq", 1), y: float32("batch", "seq", 1) };
    await using step = compile(
      (inputs) => {
        const loss = error(inputs);
        optimizer.update(loss, { learningRate: 0.02 });
        return { loss };
      },
      signature,
      { engine },
    );
    const windows = (starts: readonly number[]) => {
      const column = (offset: number) =>
        starts.map((start) => Array.from({ length: 30 }, (_, t) => [series[start + t + offset] as number]));
      return { x: column(0), y: column(1) };
    };
    for (let i = 0; i < 120; i++) await step(windows([0, 20, 40, 60, 80, 100, 120, 140].map((start) => start + (i % 9))));
    await using evaluate = compile((inputs) => ({ loss: error(inputs) }), signature, { engine });
    const seen = windows([205]);
    const unchanged = seen.x[0]?.reduce((total, [value], t) => total + ((value ?? 0) - (seen.y[0]?.[t]?.[0] ?? 0)) ** 2, 0) ?? 0;
    expect((await evaluate(seen)).loss.item()).toBeLessThan(unchanged / 30 / 5);
  });
});
