/** `config.json` of Cohere's Command models. */

import * as z from "zod";
import type { LayerType } from "../causal-lm.js";
import { Cohere, type CohereConfig, type CohereOptions } from "../decoders/cohere.js";
import {
  activation,
  architecture,
  count,
  epsilon,
  flag,
  layerTypes,
  ropeAsEntries,
  ropeEntries,
  ropeSettings,
  share,
  snakeKeys,
} from "./entries.js";

const base = {
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  logit_scale: z.number().positive().default(0.0625),
  layer_norm_eps: epsilon.default(1e-5),
  hidden_act: activation.default("silu"),
  attention_bias: flag(false),
  attention_dropout: share.nullish(),
  tie_word_embeddings: flag(true),
  initializer_range: z.number().positive().default(0.02),
  ...ropeEntries,
  max_position_embeddings: count.default(8192),
};

function baseOptions(config: z.output<z.ZodObject<typeof base>>, theta: number): Omit<CohereOptions, "modelType"> {
  const { ropeTheta, ropeScaling } = ropeSettings(config, theta);
  return {
    vocabSize: config.vocab_size,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    numHiddenLayers: config.num_hidden_layers,
    numAttentionHeads: config.num_attention_heads,
    numKeyValueHeads: config.num_key_value_heads ?? config.num_attention_heads,
    logitScale: config.logit_scale,
    maxPositionEmbeddings: config.max_position_embeddings,
    layerNormEps: config.layer_norm_eps,
    hiddenAct: config.hidden_act,
    attentionBias: config.attention_bias,
    attentionDropout: config.attention_dropout ?? 0,
    tieWordEmbeddings: config.tie_word_embeddings,
    initializerRange: config.initializer_range,
    ...{ ropeTheta, ropeScaling },
  };
}

function baseEntries(config: CohereConfig) {
  const { modelType, ropeTheta, ropeScaling, useQkNorm, slidingWindow, layerTypes, ...plain } = config;
  return { ...snakeKeys(plain), ...ropeAsEntries({ ropeTheta, ropeScaling }) };
}

export const cohere = architecture(
  "CohereForCausalLM",
  z.object({ ...base, use_qk_norm: z.boolean().nullish() }),
  (config) => new Cohere({ modelType: "cohere", ...baseOptions(config, 500_000), useQkNorm: config.use_qk_norm ?? false }),
  (config) => ({ ...baseEntries(config), use_qk_norm: config.useQkNorm }),
);

export const cohere2 = architecture(
  "Cohere2ForCausalLM",
  z.object({
    ...base,
    sliding_window: count.default(4096),
    layer_types: layerTypes,
    sliding_window_pattern: count.nullish(),
  }),
  (config) => {
    const pattern = config.sliding_window_pattern ?? 4;
    const byPattern = (_: unknown, i: number): LayerType => ((i + 1) % pattern ? "sliding_attention" : "full_attention");
    return new Cohere({
      modelType: "cohere2",
      ...baseOptions(config, 10_000),
      slidingWindow: config.sliding_window,
      layerTypes: config.layer_types ?? Array.from({ length: config.num_hidden_layers }, byPattern),
    });
  },
  (config) => ({ ...baseEntries(config), sliding_window: config.slidingWindow, layer_types: config.layerTypes }),
);
