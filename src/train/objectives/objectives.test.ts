import { describe, expect, it } from "vitest";
import { packed } from "../../data/packed.js";
import { tokenSource } from "../../data/token-source.js";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { elementCount, type HostArray, hostArray } from "../../graph/host-array.js";
import { square, sub } from "../../graph/ops/arithmetic.js";
import { mean } from "../../graph/ops/reduce.js";
import { namedRandom } from "../../graph/random.js";
import { Bert, GPT2, ImageClassifier, MaskedLM, type Model, ViT } from "../../models/index.js";
import { compile } from "../../program/compile.js";
import { int32 } from "../../program/signature.js";
import { trainTokenizer } from "../../tokenizer/train.js";
import { lora } from "../../tuning/index.js";
import { defineObjective, knownObjectives, objectiveNamed, taskOf } from "../objective.js";
import { train } from "../train.js";
import { Trainer } from "../trainer.js";
import { causalLM, countedLabels, distillation, imageClassification, maskedLM, pictureSource } from "./index.js";
import { maskTokens } from "./masked-lm.js";

const engine = await onnxRuntimeNode({ threads: 1 });
const text = "the cat sat on the mat. the dog sat on the log. ".repeat(12);
const tokenizer = await trainTokenizer(text, { model: "character", specialTokens: ["[MASK]"] });
const context = 8;
const settings = { batchSize: 5, learningRate: 0.01, seed: 3, engine };

const valuesOf = async (model: Model) => Promise.all([...model.variables().values()].map(async (one) => (await one.read()).data));
const gpt2 = (nEmbd: number) => new GPT2({ vocabSize: tokenizer.vocabSize, nEmbd, nLayer: 1, nHead: 2, nPositions: context });

describe("objectives", () => {
  it("are known by name, and refuse settings and models that they do not have", () => {
    expect(knownObjectives().map(({ name }) => name)).toEqual(
      expect.arrayContaining(["causal-lm", "masked-lm", "distillation", "image-classification"]),
    );
    expect(() => objectiveNamed("nothing")).toThrow(/There is no objective "nothing". There are causal-lm/);
    expect(() => causalLM({ zLoss: -1 })).toThrow(/settings of causal-lm cannot be followed[\s\S]*at least 0[\s\S]*zLoss/);
    expect(() => defineObjective({ ...causalLM.objective, settings: causalLM.objective.settings })).toThrow(
      /"causal-lm" already/,
    );
    const source = tokenSource(packed(text, tokenizer, { context }));
    expect(() => taskOf(maskedLM(), gpt2(8), source)).toThrow(/masked-lm trains a masked-lm, but the model is a causal-lm/);
    expect(() => taskOf(distillation(), gpt2(8), source)).toThrow(/distillation needs a teacher beside the model/);
  });
});

describe("masked language modelling", () => {
  it("chooses 15 % of the tokens, of them 80 % masks, 10 % random and 10 % as they were, and never special ones", () => {
    const ids = Int32Array.from({ length: 20_000 }, (_, i) => 5 + (i % 40));
    const masking = { maskId: 4, vocabSize: 45, kept: new Set([7]), rate: 0.15 };
    const { masked, labels } = maskTokens(ids, masking, namedRandom(1, "test"));
    const chosen = [...labels].flatMap((label, i) => (label === -100 ? [] : [{ was: ids[i], is: masked[i], label }]));
    expect(chosen.every(({ was, label }) => was === label)).toBe(true);
    expect(chosen.some(({ was }) => was === 7)).toBe(false);
    expect(chosen.length / (ids.length * (39 / 40))).toBeCloseTo(0.15, 1);
    expect(chosen.filter(({ is }) => is === 4).length / chosen.length).toBeCloseTo(0.8, 1);
    const changed = chosen.filter(({ was, is }) => is !== was && is !== 4).length / chosen.length;
    expect(changed).toBeGreaterThan(0.07);
    expect(changed).toBeLessThan(0.13);
    for (const [i, label] of labels.entries()) if (label === -100) expect(masked[i]).toBe(ids[i]);
  });

  it("trains an encoder through the same loop, and resumes from a position in JSON to the same losses", async () => {
    const model = () => {
      const size = { vocabSize: tokenizer.vocabSize, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
      return new MaskedLM(new Bert({ ...size, maxPositionEmbeddings: context, pooler: false }));
    };
    const data = [{ kind: "text" as const, text }];
    const losses: number[] = [];
    const learner = model();
    const result = await train(learner, {
      ...{ ...settings, objective: maskedLM({ maskRate: 0.3 }), data, tokenizer, layout: { context } },
      ...{ epochs: 2, onStep: ({ loss }) => void losses.push(loss) },
    });
    expect(result.steps).toBe(losses.length);
    expect(result.validation?.loss).toBeLessThan(losses[0] as number);

    const { objective } = maskedLM;
    const made = objective.source({
      settings: { maskRate: 0.3 },
      model: learner,
      layout: { context, packing: "windows", validationShare: 0.1 },
      tokenizer,
      ...{ examples: async function* () {}, rows: async function* () {} },
      documents: async () => (await import("../../data/tokens/token-documents.js")).encodeDocuments([text], tokenizer),
    });
    const source = await made;
    const first = await source.batch(source.start(3), 5);
    const again = await source.batch(JSON.parse(JSON.stringify(source.start(3))), 5);
    expect(again).toEqual(first);
    expect(await source.batch(first.next, 5)).not.toEqual(first);
  });
});

describe("distillation", () => {
  const data = packed(text, tokenizer, { context });
  const source = tokenSource(data);

  it("is the divergence from the teacher at a temperature, and the cross-entropy of the text beside it", async () => {
    const [student, teacher] = [gpt2(8).initialize(1), gpt2(16).initialize(2)];
    const { feeds } = await source.batch(source.start(1), 3);
    const task = taskOf(distillation({ temperature: 2, share: 0.25 }), student, source, { companions: { teacher } });
    const signature = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };
    await using program = compile(
      (batch) => {
        const { loss, weight } = task.loss(batch);
        return { loss, weight, student: student.forward(batch.ids), teacher: teacher.forward(batch.ids) };
      },
      signature,
      { engine, training: false },
    );
    const results = await program(feeds as { ids: HostArray<"int32">; labels: HostArray<"int32"> });
    const vocab = tokenizer.vocabSize;
    const logProbabilities = (logits: Float32Array, row: number, temperature: number) => {
      const scaled = [...logits.subarray(row * vocab, (row + 1) * vocab)].map((logit) => logit / temperature);
      const total = Math.log(scaled.reduce((sum, logit) => sum + Math.exp(logit), 0));
      return scaled.map((logit) => logit - total);
    };
    const [ours, theirs] = [results.student.data, results.teacher.data] as [Float32Array, Float32Array];
    const labels = [...((feeds as { labels: HostArray }).labels.data as Int32Array)];
    let [divergence, entropy] = [0, 0];
    for (const [row, label] of labels.entries()) {
      const [p, q] = [logProbabilities(theirs, row, 2), logProbabilities(ours, row, 2)];
      divergence += p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - (q[i] as number)), 0);
      entropy -= logProbabilities(ours, row, 1)[label] as number;
    }
    const expected = (0.25 * 4 * divergence + 0.75 * entropy) / labels.length;
    expect(results.loss.item()).toBeCloseTo(expected, 5);
    expect(results.weight.item()).toBe(labels.length);
  });

  it("moves a smaller model towards the teacher, which stays as it is", async () => {
    const teacher = gpt2(16).initialize(7);
    const before = await valuesOf(teacher);
    const divergences: number[] = [];
    await train(gpt2(8), {
      ...{ ...settings, objective: distillation({ share: 1 }), data: source, companions: { teacher } },
      ...{ steps: 25, onStep: ({ metrics }) => void divergences.push(metrics.divergence as number) },
    });
    expect(divergences.at(-1)).toBeLessThan(0.5 * (divergences[0] as number));
    expect(await valuesOf(teacher)).toEqual(before);
  });

  it("refuses a teacher of another vocabulary", async () => {
    const teacher = new GPT2({ vocabSize: 99, nEmbd: 8, nLayer: 1, nHead: 2, nPositions: context });
    await expect(
      train(gpt2(8), { ...settings, objective: distillation(), data: source, companions: { teacher }, steps: 1 }),
    ).rejects.toThrow(/teacher has a vocabulary of 99 tokens and the model one of/);
  });
});

describe("an adapter", () => {
  const data = tokenSource(packed(text, tokenizer, { context }));

  it("is trained in place of its model", async () => {
    const model = gpt2(16).initialize(1);
    const before = await valuesOf(model);
    const tuning = lora(model, { rank: 2, targets: "all-linear" });
    const losses: number[] = [];
    const onStep = ({ loss }: { loss: number }) => void losses.push(loss);
    await train(model, { ...settings, objective: causalLM(), data, tuning, learningRate: 0.1, steps: 40, onStep });
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.1);
    expect(await valuesOf(model)).toEqual(before);
    await expect(train(gpt2(16), { ...settings, objective: causalLM(), data, tuning, steps: 1 })).rejects.toThrow(
      /on another model than the one that is trained/,
    );
  });

  it("leaves its model to be the reference of an objective", async () => {
    const closeness = defineObjective({
      ...{
        name: "test-closeness",
        description: "a test",
        kind: "causal-lm",
        accepts: ["text"],
        settings: causalLM.objective.settings,
      },
      companions: ["reference"],
      source: causalLM.objective.source,
      loss(model, { ids, labels }, { reference }) {
        const loss = mean(square(sub(model.forward(ids), reference.forward(ids))));
        return { loss, weight: countedLabels(labels) };
      },
    });
    const model = gpt2(16).initialize(1);
    const tuning = lora(model, { rank: 2 });
    const losses: number[] = [];
    const onStep = ({ loss }: { loss: number }) => void losses.push(loss);
    await train(model, { ...settings, objective: closeness(), data, tuning, steps: 1, onStep });
    expect(losses).toEqual([0]); // the adapter begins at nothing
    for (const [path, parameter] of tuning.parameters())
      if (path.endsWith(".b"))
        parameter.write({
          ...(await parameter.read()),
          data: new Float32Array(elementCount(parameter.shape)).fill(0.3),
        } as HostArray);
    await train(model, { ...settings, objective: closeness(), data, tuning, steps: 20, onStep });
    expect(losses[1]).toBeGreaterThan(0);
    expect(losses.at(-1)).toBeLessThan(0.5 * (losses[1] as number));
  });
});

describe("image classification", () => {
  /** Ink on the left or on the right, with noise. */
  const pictures = Array.from({ length: 83 }, (_, i) => {
    const random = namedRandom(i, "picture");
    const label = i % 2;
    const data = Uint8Array.from({ length: 64 }, (_, at) => (Math.floor((at % 8) / 4) === label ? 160 : 20) + random.below(80));
    return { image: { width: 8, height: 8, channels: 1, data }, label };
  });
  const source = pictureSource(pictures.slice(0, 63), pictures.slice(63));

  it("trains a small ViT, with accuracy beside the loss", async () => {
    const vit = new ViT({ imageSize: 8, patchSize: 4, numChannels: 1, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 });
    const model = new ImageClassifier(vit, { labels: ["left", "right"] });
    const { validation } = await train(model, { ...settings, objective: imageClassification(), data: source, epochs: 3 });
    expect(validation?.metrics.accuracy).toBe(1);
    expect(validation?.loss).toBeLessThan(0.4);
  });

  it("reads each picture once in an epoch, and fills the last batch up with ones that do not count", async () => {
    expect(source.batchesPerEpoch(10)).toBe(7);
    let position = source.start(4);
    const counts: number[] = [];
    const sums = new Set<number>();
    for (let i = 0; i < 7; i++) {
      const { feeds, next } = await source.batch(position, 10);
      const { labels, pixels } = feeds as { labels: HostArray; pixels: HostArray };
      const real = [...(labels.data as Int32Array)].filter((label) => label !== -100).length;
      counts.push(real);
      for (let row = 0; row < real; row++)
        sums.add((pixels.data as Float32Array).subarray(row * 64, (row + 1) * 64).reduce((sum, value) => sum + value, 0));
      position = next;
    }
    expect(counts).toEqual([10, 10, 10, 10, 10, 10, 3]);
    expect(sums.size).toBe(63);
    expect(position).toMatchObject({ epoch: 1, window: 0 });
  });

  it("puts channels first, from −1 to 1", async () => {
    const image = { width: 1, height: 2, channels: 3, data: Uint8Array.of(0, 255, 51, 102, 153, 204) };
    const { feeds } = await pictureSource([{ image, label: 0 }], []).batch({ seed: 0, epoch: 0, window: 0 }, 1);
    const { pixels } = feeds as { pixels: HostArray };
    expect(pixels.shape).toEqual([1, 3, 2, 1]);
    expect([...(pixels.data as Float32Array)].map((value) => Math.round(value * 10) / 10)).toEqual([-1, -0.2, 1, 0.2, -0.6, 0.6]);
  });
});

describe("a step in which nothing counts", () => {
  it.each([1, 2])(
    "leaves everything as it was, weight decay and step count included (accumulation: %i)",
    async (accumulation) => {
      const labels = () => hostArray("int32", [2, 4], new Int32Array(8).fill(-100));
      const source = {
        signature: { ids: int32("batch", "seq"), labels: int32("batch", "seq") },
        unit: { name: "token" },
        ...{ start: () => 0, batchesPerEpoch: () => 2, vocabSize: 5, context: 4 },
        batch: async (position: number) => ({
          feeds: { ids: hostArray("int32", [2, 4], new Int32Array(8)), labels: labels() },
          next: position + 1,
        }),
      };
      const model = gpt2(8);
      const trainer = new Trainer(model, taskOf(causalLM(), model, source), { ...settings, accumulation, steps: 4 });
      const before = await valuesOf(model);
      expect(await trainer.step()).toMatchObject({ loss: 0, units: 0 });
      expect(await valuesOf(model)).toEqual(before);
      for (const [name, variable] of trainer.optimizerVariables)
        expect([name, [...((await variable.read()).data as Float32Array)].every((value) => value === 0)]).toEqual([name, true]);
      await trainer.release();
      await expect(train(gpt2(8), { ...settings, objective: causalLM(), data: source, steps: 9 })).rejects.toThrow(
        /No token of the training data counts for the loss/,
      );
    },
  );
});
