import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { runTrace } from "../graph/trace.js";
import { Llama, modelFromConfig } from "../models/index.js";
import {
  decoderGeometry,
  inspectionTable,
  inspectModel,
  kvCacheBytesPerSequence,
  meanVisibleKeys,
  optimizerElements,
} from "./index.js";

const gpt2 = { model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 };
const llama2 = {
  model_type: "llama",
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_position_embeddings: 4096,
};
const mistral = { ...llama2, model_type: "mistral", intermediate_size: 14336, num_key_value_heads: 8, sliding_window: 4096 };
const mixtral = { ...mistral, model_type: "mixtral", sliding_window: null, num_local_experts: 8, num_experts_per_tok: 2 };
const small = {
  ...llama2,
  ...{ vocab_size: 50, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 3, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, max_position_embeddings: 32 },
};

describe("parameters", () => {
  it.each([
    ["GPT-2", gpt2, 124_439_808],
    ["Llama 2 7B", llama2, 6_738_415_616],
  ])("of %s", (_, config, parameters) => {
    const inspection = inspectModel(config, { context: 128 });
    expect(inspection.parameters).toBe(parameters);
    expect(inspection.modules.reduce((total, module) => total + module.parameters, 0)).toBe(parameters);
  });

  it("of Mistral 7B", () => {
    expect(inspectModel(mistral, { context: 128 }).parameters).toBe(7_241_732_096);
  });

  it("of Mixtral 8x7B, and those that compute a token", () => {
    const { parameters, activeParameters } = inspectModel(mixtral, { context: 128 });
    expect(parameters).toBe(46_702_792_704);
    expect(activeParameters).toBe(12_879_925_248); // two of eight experts
  });

  it("are counted without any weight being made", () => {
    const model = new Llama({ vocabSize: 32000, hiddenSize: 4096, numHiddenLayers: 32, numAttentionHeads: 32 });
    inspectModel(model, { context: 16 });
    expect([...model.variables().values()].some(({ hasValue }) => hasValue)).toBe(false);
  });

  it("are grouped by module, layers together", () => {
    expect(inspectModel(small).modules).toContainEqual({
      module: "layers.*.mlp.gateProj",
      instances: 3,
      parameters: 3 * 16 * 24,
    });
  });
});

describe("operations", () => {
  it.each([
    ["gpt2", { ...gpt2, vocab_size: 50, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 8 }],
    ["llama", { ...small, num_hidden_layers: 2, max_position_embeddings: 8 }],
    ["llama, tied", { ...small, num_hidden_layers: 2, max_position_embeddings: 8, tie_word_embeddings: true }],
  ])("of %s are those of its graph, which also computes what the mask hides", (_, config) => {
    const [batch, seq] = [2, 8];
    const model = modelFromConfig(config, undefined, "causal-lm");
    const ids = input("ids", "int32", [batch, seq]);
    const { result } = runTrace({ training: false, fetch: [] }, () => model.forward(ids));
    let counted = 0;
    for (const { op, inputs, outputs, attributes } of nodesOf([result])) {
      if (op.name !== "matmul") continue;
      const inner = inputs[0]?.shape.at((attributes as { transposeA: boolean }).transposeA ? -2 : -1) as number;
      counted += elementCount(outputs[0]?.shape as readonly number[]) * 2 * inner;
    }
    const { flops } = inspectModel(config, { batch, context: seq });
    const allKeys = (flops.attentionFlopsPerToken / meanVisibleKeys(seq)) * seq;
    expect(batch * seq * (flops.weightFlopsPerToken + allKeys)).toBe(counted);
  });

  it("count the keys that a query sees", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 80 }), (context, window) => {
        let keys = 0;
        for (let position = 0; position < context; position++) keys += Math.min(position + 1, window);
        expect(meanVisibleKeys(context, window)).toBeCloseTo(keys / context, 10);
      }),
    );
  });

  it("of training are three times those of the forward pass, and four where layers are recomputed", () => {
    const { flops } = inspectModel(small);
    expect(flops.trainingFlopsPerToken).toBe(3 * flops.forwardFlopsPerToken);
    expect(flops.trainingFlopsPerTokenRecomputed).toBe(4 * flops.forwardFlopsPerToken - 2 * 50 * 16);
  });
});

describe("the cache of keys and values", () => {
  it("has 4·b·l·(s+n)·kvHeads·headDim bytes in float16", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 12 }),
        (batch, prompt, answer) => {
          const { inference } = inspectModel(small, { batch, context: prompt + answer, dtype: "float16" });
          expect(inference.kvCacheBytes).toBe(4 * batch * 3 * (prompt + answer) * 2 * 4);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("keeps a window of tokens in layers that have one", () => {
    const geometry = decoderGeometry({
      ...small,
      sliding_window: 8,
      layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
    });
    expect(kvCacheBytesPerSequence(geometry, 20, 2)).toBe(2 * (8 + 20 + 8) * 2 * 4 * 2);
  });

  it("knows from which layer on windows are used", () => {
    const qwen = { ...small, sliding_window: 8, use_sliding_window: true, max_window_layers: 2 };
    expect(decoderGeometry(qwen).windows).toEqual([undefined, undefined, 8]);
    expect(decoderGeometry({ ...qwen, use_sliding_window: false }).windows).toEqual([undefined, undefined, undefined]);
  });
});

describe("memory", () => {
  it("adds up", () => {
    const { parameters, training, inference } = inspectModel(small, { batch: 2, dtype: "int8" });
    expect(training.weightBytes).toBe(4 * parameters);
    expect(training.totalBytes).toBe(4 * parameters * (1 + 1 + 2 + 3) + training.activationBytes);
    expect(training.totalBytes - training.totalBytesRecomputed).toBe(
      training.activationBytes - training.activationBytesRecomputed,
    );
    expect(inference.totalBytes).toBe(parameters + inference.kvCacheBytes + inference.prefillActivationBytes);
  });

  it("grows by the same for each layer and each sequence; recomputation keeps a layer's input alone", () => {
    const [three, four, five] = [3, 4, 5].map((layers) => inspectModel({ ...small, num_hidden_layers: layers }).training);
    expect(five?.activationBytes).toBe(2 * (four?.activationBytes ?? 0) - (three?.activationBytes ?? 0));
    expect((four?.activationBytesRecomputed ?? 0) - (three?.activationBytesRecomputed ?? 0)).toBe(32 * 16 * 4);
    const [one, two, three2] = [1, 2, 3].map((batch) => inspectModel(small, { batch }).training.activationBytes) as [
      number,
      number,
      number,
    ];
    expect(three2 - two).toBe(two - one);
  });

  it("holds what each optimizer keeps", () => {
    const shapes = [
      { path: "embedTokens.weight", shape: [50, 8] },
      { path: "layers.0.mlp.upProj.weight", shape: [6, 8] },
      { path: "norm.weight", shape: [8] },
    ];
    const elements = (name: string) => optimizerElements(name, shapes);
    expect(["adamw", "lion", "muon", "sgd", "sgd-momentum", "adafactor"].map(elements)).toEqual([
      2 * 456,
      456,
      2 * 400 + 48 + 2 * 8,
      0,
      456,
      58 + 14 + 8,
    ]);
    expect(() => elements("adam")).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringMatching(/known are adamw/) }),
    );
  });

  it("is moved once for each token of one sequence, and shared by those of many", () => {
    const one = inspectModel(llama2, { context: 1, dtype: "float16" }).inference;
    expect(one.decodeFlopsPerByte).toBeCloseTo(1, 1); // two operations for two bytes
    const many = inspectModel(llama2, { context: 1, batch: 32, dtype: "float16" }).inference;
    expect(many.decodeFlopsPerByte / one.decodeFlopsPerByte).toBeGreaterThan(30);
  });
});

it("refuses what is impossible", () => {
  const fails = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
  expect(() => inspectModel(small, { batch: 0 })).toThrow(fails("ARGUMENT", /batch is 0/));
  expect(() => inspectModel(small, { context: 33 })).toThrow(fails("ARGUMENT", /context is 33.*32 positions/));
  expect(() => inspectModel(small, { dtype: "fp8" as "int8" })).toThrow(fails("ARGUMENT", /known are float32/));
  expect(() => inspectModel({ model_type: "mamba" })).toThrow(fails("CONFIG", /known are/));
  expect(() => decoderGeometry({ model_type: "x" })).toThrow(fails("CONFIG", /num_hidden_layers/));
});

it("is printed as a table", () => {
  const text = inspectionTable(inspectModel(gpt2));
  expect(text).toMatch(/^gpt2: 124,439,808 parameters$/m);
  expect(text).toMatch(/^ {2}h\.\*\.mlp\.cFc +× 12 +28,348,416 +22\.8 %$/m);
  expect(text).toMatch(/^ {2}keys and values +75\.5 MB$/m);
});
