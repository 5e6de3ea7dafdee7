import { describe, expect, it } from "vitest";
import { encodeDocuments, type PackedOptions, packedDocuments, startOfData, type TokenBatch } from "../data/index.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import {
  clamp,
  crossEntropy,
  grad,
  type HostArray,
  hostArray,
  logSoftmax,
  neg,
  type Parameter,
  squeeze,
  type Tensor,
  takeAlong,
  unsqueeze,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { BLOCK } from "../nn/attention-blocks.js";
import { compile, int32 } from "../program/index.js";
import { trainTokenizer } from "../tokenizer/index.js";
import type { CausalLM } from "./causal-lm.js";
import { GPT2 } from "./decoders/gpt2.js";
import { Llama } from "./decoders/llama.js";

const engine = await onnxRuntimeNode({ threads: 2 });

/** Longer than two blocks, so that training goes by blocks and leaves some out. */
const context = 2 * BLOCK + 40;
const alphabet = "abcdefghij";
const random = namedRandom(3, "documents");
const documentOf = (length: number) => Array.from({ length }, () => alphabet[random.below(alphabet.length)]).join("");
const texts = [20, 1, 130, 3, 90, 200, 60, 7, 250, 45, 12, 2, 160, 31].map(documentOf);
const tokenizer = await trainTokenizer(alphabet, { model: "character", specialTokens: ["<|endoftext|>"] });
const documents = encodeDocuments(texts, tokenizer, { separator: "<|endoftext|>" });

const models: readonly (readonly [string, CausalLM])[] = [
  ["GPT-2", new GPT2({ vocabSize: 11, nEmbd: 12, nLayer: 2, nHead: 3, nPositions: context, initializerRange: 0.3 })],
  [
    "Llama",
    new Llama({
      ...{ vocabSize: 11, hiddenSize: 16, intermediateSize: 24, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2 },
      ...{ maxPositionEmbeddings: context, initializerRange: 0.3 },
    }),
  ],
];

const places = { segments: int32("batch", "seq"), positions: int32("batch", "seq") };
const idsAndLabels = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };

function batchesOf(options: Omit<PackedOptions, "context">): Required<TokenBatch>[] {
  const data = packedDocuments(documents, { context, validationShare: 0, ...options });
  const batches: Required<TokenBatch>[] = [];
  for (let position = startOfData(1); position.epoch === 0; ) {
    const { batch, next } = data.batch(position, 2);
    batches.push(batch as Required<TokenBatch>);
    position = next;
  }
  return batches;
}

/** Where each segment of a batch starts, and how long it is. */
function segmentsOf({ segments }: Required<TokenBatch>): { readonly start: number; readonly end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let start = 0, i = 1; i <= segments.data.length; i++) {
    if (i < segments.data.length && i % context !== 0 && segments.data[i] === segments.data[i - 1]) continue;
    if (segments.data[start] !== 0) found.push({ start, end: i });
    start = i;
  }
  return found;
}

const row = (values: Int32Array): HostArray<"int32"> => hostArray("int32", [1, values.length], values);

/** −log p of each label, with 0 for those that do not count. [batch, seq] */
const lossesOf = (logits: Tensor, labels: Tensor): Tensor =>
  neg(squeeze(takeAlong(logSoftmax(logits), unsqueeze(clamp(labels, { min: 0 }), -1), -1), -1));

describe.each(models)("packed training of %s", (_, model) => {
  model.initialize(11);
  const parameters = [...model.parameters().values()] as Parameter[];
  // Evaluation has symbolic sizes and whole attention, training concrete sizes and attention in blocks.
  const packedLosses = (training: boolean) =>
    compile(
      ({ ids, labels, segments, positions }) => ({ losses: lossesOf(model.forward(ids, { segments, positions }), labels) }),
      { ...idsAndLabels, ...places },
      { engine, training },
    );
  const alone = compile(({ ids, labels }) => ({ losses: lossesOf(model.forward(ids), labels) }), idsAndLabels, { engine });

  describe.each(["bestFit", "shuffled"] as const)("in rows cut as %s", (sampling) => {
    const batches = batchesOf({ sampling });

    it.each([
      ["evaluated", false],
      ["trained", true],
    ])("has, %s, the loss of each document by itself", async (__, training) => {
      await using program = packedLosses(training);
      let documentsSeen = 0;
      for (const batch of batches) {
        const losses = (await program(batch)).losses.toNumbers();
        for (const { start, end } of segmentsOf(batch)) {
          const [ids, labels] = [batch.ids.data.slice(start, end), batch.labels.data.slice(start, end)];
          const expected = (await alone({ ids: row(ids), labels: row(labels) })).losses.toNumbers();
          const mean = (values: ArrayLike<number>, from: number) => {
            const counted = [...labels.keys()].filter((i) => labels[i] !== -100);
            return counted.reduce((sum, i) => sum + (values[from + i] as number), 0) / Math.max(1, counted.length);
          };
          expect(Math.abs(mean(losses, start) - mean(expected, 0))).toBeLessThan(1e-5);
          documentsSeen++;
        }
      }
      expect(documentsSeen).toBeGreaterThanOrEqual(sampling === "bestFit" ? texts.length : texts.length / 2);
    });

    it("has the gradient of the documents one by one", async () => {
      const gradients = (loss: Tensor) =>
        Object.fromEntries(grad(loss, parameters).map((gradient, i) => [`p${i}`, gradient as Tensor]));
      await using together = compile(
        ({ ids, labels, segments, positions }) => gradients(model.loss(ids, labels, { segments, positions })),
        { ...idsAndLabels, ...places },
        { engine, training: true },
      );
      await using one = compile(({ ids, labels }) => gradients(crossEntropy(model.forward(ids), labels)), idsAndLabels, {
        engine,
      });
      const [batch] = batches as [Required<TokenBatch>];
      const packedGradients = await together(batch);
      const sums = new Map<string, Float64Array>();
      let total = 0;
      for (const { start, end } of segmentsOf(batch)) {
        const labels = batch.labels.data.slice(start, end);
        const count = labels.filter((label) => label !== -100).length;
        const result = await one({ ids: row(batch.ids.data.slice(start, end)), labels: row(labels) });
        total += count;
        for (const [name, gradient] of Object.entries(result) as [string, HostArray & { toNumbers(): Float64Array }][]) {
          if (name === "inside") continue;
          const sum = sums.get(name) ?? new Float64Array(gradient.data.length);
          gradient.toNumbers().forEach((value, i) => {
            sum[i] = (sum[i] as number) + value * count;
          });
          sums.set(name, sum);
        }
      }
      expect(sums.size).toBe(parameters.length);
      for (const [name, sum] of sums) {
        const values = (packedGradients as unknown as Record<string, { toNumbers(): Float64Array }>)[name]?.toNumbers() ?? [];
        const scale = Math.max(1, ...sum.map((value) => Math.abs(value / total)));
        for (const [i, value] of sum.entries())
          expect(Math.abs(value / total - (values[i] as number)) / scale).toBeLessThan(1e-5);
      }
    });
  });

  it("sees nothing of another document: changing its tokens changes no logit", async () => {
    await using program = packedLosses(true);
    const [batch] = batchesOf({ sampling: "bestFit" }) as [Required<TokenBatch>];
    const before = (await program(batch)).losses.toNumbers();
    const [changed, ...others] = segmentsOf(batch) as [{ start: number; end: number }, ...{ start: number; end: number }[]];
    const ids = batch.ids.data.slice();
    for (let i = changed.start; i < changed.end; i++) ids[i] = ((ids[i] as number) + 1) % 11;
    const after = (await program({ ...batch, ids: hostArray("int32", batch.ids.shape, ids) })).losses.toNumbers();
    expect(after.slice(changed.start, changed.end)).not.toEqual(before.slice(changed.start, changed.end));
    for (const { start, end } of others) expect(after.slice(start, end)).toEqual(before.slice(start, end));
  });
});
