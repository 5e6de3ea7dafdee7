import { describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { nodesOf } from "../graph/graph.js";
import { grad, type Parameter, type Tensor, toNumbers } from "../graph/index.js";
import { GPT2 } from "../models/decoders/gpt2.js";
import { Bert, MaskedLM } from "../models/index.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "../program/compile.js";
import { applyTuning, lora, tuningSettings, withoutAdapters } from "./index.js";
import { signature, valuesOf } from "./testing/peft-cases.js";

const engine = referenceEngine();

describe("training an adapter", () => {
  const tiny = () => new GPT2({ vocabSize: 11, nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 16 }).initialize(3);
  const batch = { ids: [[1, 2, 3, 4]], labels: [[2, 3, 4, 5]] };

  it("begins at the model itself, moves the adapter alone, and keeps gradients and state of nothing else", async () => {
    const model = tiny();
    const before = await valuesOf(model.variables());
    const adapter = lora(model, { rank: 2, alpha: 8, dropout: 0.25, targets: ["cAttn", "c_proj"] });
    const optimizer = new AdamW(adapter, { flat: false });
    const states = [...optimizer.variables().keys()].filter((name) => name.startsWith("firstMoment"));
    expect(states).toHaveLength(adapter.parameters().size);
    await using step = compile(
      ({ ids, labels }) => {
        const loss = model.loss(ids, labels);
        optimizer.update(loss, { learningRate: 0.05 });
        return { loss };
      },
      signature,
      { engine },
    );
    await using base = compile(
      ({ ids, labels }) => ({ loss: model.loss(ids, labels), plain: adapter.without(() => model.loss(ids, labels)) }),
      signature,
      { engine },
    );
    const { loss, plain } = await base(batch);
    expect(loss.item()).toBe(plain.item());
    expect(step.names.filter((name) => name.startsWith("gradient."))).toHaveLength(adapter.parameters().size);
    expect(step.toString()).toMatch(/h\.0\.attn\.cAttn\.lora/); // dropout before the low-rank path
    for (let i = 0; i < 12; i++) await step(batch);
    const after = await base(batch);
    expect(after.loss.item()).toBeLessThan(loss.item() - 0.1);
    expect(after.plain.item()).toBe(plain.item());
    expect(await valuesOf(model.variables())).toEqual(before);
  });

  it("does not compute what no parameter needs: the chunks of a frozen head have no gradient by its weight", async () => {
    const model = tiny();
    lora(model, { targets: ["cAttn"] });
    const long = { ids: [Array(16).fill(1)], labels: [Array(16).fill(2)] };
    const rows = Array(40).fill(long.ids[0]) as number[][]; // 640 rows: two chunks
    const products = async (frozen: boolean) => {
      model.wte.weight.trainable = !frozen;
      const program = compile(
        ({ ids, labels }) => {
          const loss = model.loss(ids, labels);
          return { gradient: grad(loss, [model.h[0]?.ln1.weight as Parameter])[0] as Tensor };
        },
        signature,
        { engine, training: true, specialize: true },
      );
      const { graph } = await program.capture({ ids: rows, labels: rows });
      return nodesOf(graph.outputs.values()).filter(({ op }) => op.name === "matmul").length;
    };
    expect(await products(true)).toBeLessThan(await products(false));
  });

  it("computes neither the sum of both weights nor a gradient of the frozen one", async () => {
    const model = tiny();
    const optimizer = new AdamW(lora(model, { rank: 2, targets: ["cAttn"] }), { flat: false });
    const program = compile(({ ids, labels }) => optimizer.update(model.loss(ids, labels), { learningRate: 0.1 }), signature, {
      engine,
    });
    const { graph } = await program.capture(batch);
    const wide = nodesOf(graph.outputs.values()).filter(
      ({ op, outputs: [made] }) => op.name !== "variable" && ["8,24", "24,8"].includes(String(made?.shape)),
    );
    // The input's gradient may turn the weight round.
    expect(wide.filter(({ op }) => op.name !== "transpose")).toEqual([]);
  });

  it("stacks, and gives back to training only what the last adapter lets go", async () => {
    const model = tiny();
    model.wpe.weight.trainable = false;
    const [first, second] = [lora(model, { targets: "cAttn" }), lora(model, { targets: "/(cAttn|cFc)$/", seed: 5 })];
    await using program = compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: signature.ids }, { engine });
    const logits = async () => toNumbers((await program({ ids: batch.ids })).logits);
    const base = await logits();
    for (const adapter of [first, second])
      for (const parameter of adapter.parameters().values()) {
        const { shape } = parameter;
        const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => Math.sin(i + shape.length) / 4);
        parameter.write({ dtype: "float32", shape, data });
      }
    const both = await logits();
    await first.merge(engine);
    for (const [i, value] of (await logits()).entries()) expect(value).toBeCloseTo(both[i] as number, 5);
    await second.merge(engine);
    for (const [i, value] of (await logits()).entries()) expect(value).toBeCloseTo(both[i] as number, 5);
    expect(() => first.unmerge()).toThrow(/has changed since the adapter was merged/);
    second.unmerge();
    first.unmerge();
    first.detach();
    expect(model.wte.weight.trainable).toBe(false);
    second.detach();
    expect(model.wte.weight.trainable).toBe(true);
    expect(model.wpe.weight.trainable).toBe(false);
    expect(await logits()).toEqual(base);
  });

  it("suspends an adapter only where it is traced", () => {
    const adapter = lora(tiny());
    for (const suspend of [() => adapter.without(() => 1), () => withoutAdapters(() => 1)])
      expect(suspend).toThrow(/inside a compiled function.*enabled = false/);
  });
});

describe("targets", () => {
  const model = () => new GPT2({ vocabSize: 11, nEmbd: 8, nLayer: 2, nHead: 2, nPositions: 16 });
  const pathsOf = (...parameters: Parameters<typeof lora>) => [...lora(...parameters).sites.keys()];

  it.each([
    ["all-linear", ["h.0.attn.cAttn", "h.0.attn.cProj", "h.0.mlp.cFc", "h.0.mlp.cProj"]],
    [/mlp\.cProj$/, ["h.0.mlp.cProj"]],
    [/mlp\.c_proj$/g, ["h.0.mlp.cProj"]],
    ["/mlp\\.c/", ["h.0.mlp.cFc", "h.0.mlp.cProj"]],
    ["cProj", ["h.0.attn.cProj", "h.0.mlp.cProj"]],
    [
      ["attn.c_proj", "wpe"],
      ["wpe", "h.0.attn.cProj"],
    ],
    [
      ["wte", "lm_head"],
      ["wte", "lmHead"],
    ],
  ])("%s", (targets, paths) => {
    expect(pathsOf(model(), { targets }).filter((path) => !path.includes("h.1"))).toEqual(paths);
  });

  it("of a tied pair are one where weights stay tied", () => {
    for (const targets of ["wte", "lmHead"])
      expect(pathsOf(model(), { targets: [targets, "cFc"], ensureWeightTying: true })).toEqual([
        "wte",
        "h.0.mlp.cFc",
        "h.1.mlp.cFc",
      ]);
  });

  it("of a masked language model know the output that is tied to its embedding", async () => {
    const backbone = new Bert({ vocabSize: 11, hiddenSize: 8, intermediateSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 });
    const masked = new MaskedLM(backbone).initialize(1);
    const adapter = lora(masked, { targets: ["wordEmbeddings"] });
    await expect(adapter.merge(engine)).rejects.toThrow(/wordEmbeddings shares its weight/);
    adapter.detach();
    const [output] = lora(masked, { targets: ["cls.predictions.decoder"] }).targets;
    expect([output?.target.path, output?.target.module]).toEqual(["decoder", backbone.tokenEmbeddings]);
    expect(pathsOf(masked, { targets: "all-linear" })).not.toContain("decoder");
  });

  it("that match nothing are refused, with what there is", () => {
    expect(() => lora(model(), { targets: ["cAttn", "qProj"] })).toThrow(/"qProj".*wte, wpe, cAttn, cProj, cFc, lmHead/);
    expect(() => lora(model(), { targets: "Attn" })).toThrow(/matches "Attn"/);
    expect(() => lora(model(), { rank: 0 })).toThrow(/rank of at least 1, but 0/);
    expect(() => lora(model(), { dropout: 1 })).toThrow(/probability/);
  });

  it("come from recipes", () => {
    const tuned = model();
    const adapter = applyTuning(tuned, tuningSettings().parse({ method: "lora", rank: 2, targets: "/c_attn/" }), { seed: 7 });
    expect([...adapter.parameters().keys()]).toEqual(
      [0, 1].flatMap((i) => ["a", "b"].map((f) => `sites.h.${i}.attn.cAttn.${f}`)),
    );
    expect(() => applyTuning(tuned, { method: "lora", ranks: 2 }, { seed: 7 })).toThrow(/Tuning with lora:[\s\S]*ranks/);
    expect(() => applyTuning(tuned, { method: "magic" }, { seed: 7 })).toThrow(/no tuning method "magic"; there are .*lora/);
    expect(tuningSettings().safeParse({ method: "lora", rank: 0 }).success).toBe(false);
  });
});
