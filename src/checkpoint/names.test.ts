import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toCheckpointName, toPropertyPath } from "./names.js";

describe("property paths and checkpoint names", () => {
  it.each([
    ["layers.3.selfAttn.qProj.weight", "layers.3.self_attn.q_proj.weight"], // Llama
    ["layers.11.postAttentionLayernorm.weight", "layers.11.post_attention_layernorm.weight"],
    ["model.embedTokens.weight", "model.embed_tokens.weight"],
    ["lmHead.weight", "lm_head.weight"],
    ["transformer.h.0.attn.cAttn.weight", "transformer.h.0.attn.c_attn.weight"], // GPT-2
    ["transformer.h.10.mlp.cFc.bias", "transformer.h.10.mlp.c_fc.bias"],
    ["transformer.h.0.ln1.weight", "transformer.h.0.ln_1.weight"],
    ["transformer.lnF.weight", "transformer.ln_f.weight"],
    ["transformer.wte.weight", "transformer.wte.weight"],
    ["blockSparseMoe.experts.7.w$1.weight", "block_sparse_moe.experts.7.w1.weight"], // Mixtral
    ["textModel.encoder.layers.0.mlp.fc$1.bias", "text_model.encoder.layers.0.mlp.fc1.bias"], // CLIP
    ["layerNorm$2.weight", "layer_norm2.weight"],
    ["mlp.denseHTo4h.weight", "mlp.dense_h_to_4h.weight"], // Falcon
    ["block.0.layer.1.$Dense$Relu$Dense.wi0.weight", "block.0.layer.1.DenseReluDense.wi_0.weight"], // T5
    ["attention.output.$Layer$Norm.gamma", "attention.output.LayerNorm.gamma"], // BERT
    ["qProj.lora_$A.weight", "q_proj.lora_A.weight"], // LoRA in peft
    ["selfAttn.kvAProjWithMqa.weight", "self_attn.kv_a_proj_with_mqa.weight"], // DeepSeek-V2
    ["conv$1d12.weight", "conv1d_12.weight"],
    ["mixer.$Wqkv", "mixer.Wqkv"], // Phi
  ])("%s ↔ %s", (property, name) => {
    expect(toCheckpointName(property)).toBe(name);
    expect(toPropertyPath(name)).toBe(property);
  });

  it("every checkpoint name comes back from its property path", () => {
    const pieces = fc.constantFrom("_", "a", "b", "Z", "0", "1", "$", ".", "é", "attn", "1d");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(pieces).map((parts) => parts.join("")),
          fc.string({ unit: "binary" }),
        ),
        (name) => {
          expect(toCheckpointName(toPropertyPath(name))).toBe(name);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("every camelCase property path comes back from its checkpoint name", () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^([a-z][A-Za-z0-9]{0,12}|\d{1,3})$/), { minLength: 1 }), (segments) => {
        const path = segments.join(".");
        expect(toPropertyPath(toCheckpointName(path))).toBe(path);
      }),
      { numRuns: 1000 },
    );
  });

  it("different checkpoint names have different property paths", () => {
    const names = ["fc1", "fc_1", "fc_$1", "Fc1", "_fc1", "fc__1", "FC1", "f_c_1"];
    expect(new Set(names.map(toPropertyPath)).size).toBe(names.length);
  });
});
