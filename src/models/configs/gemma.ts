/** `config.json` of Gemma 2 and of Gemma 3's text models. */

import * as z from "zod";
import type { LayerType } from "../causal-lm.js";
import { Gemma, type GemmaConfig, type GemmaOptions } from "../decoders/gemma.js";
import {
  activation,
  architecture,
  count,
  epsilon,
  flag,
  layerTypes,
  only,
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
  num_key_value_heads: count.default(4),
  head_dim: count.default(256),
  hidden_activation: activation.nullish(),
  rms_norm_eps: epsilon.default(1e-6),
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: count.default(4096),
  layer_types: layerTypes,
  attention_bias: flag(false),
  attention_dropout: share.nullish(),
  tie_word_embeddings: flag(true),
  initializer_range: z.number().positive().default(0.02),
  use_bidirectional_attention: only(false, null),
  ...ropeEntries,
};

function baseOptions(config: z.output<z.ZodObject<typeof base>>): Omit<GemmaOptions, "modelType"> {
  return {
    vocabSize: config.vocab_size,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    numHiddenLayers: config.num_hidden_layers,
    numAttentionHeads: config.num_attention_heads,
    numKeyValueHeads: config.num_key_value_heads,
    headDim: config.head_dim,
    maxPositionEmbeddings: config.max_position_embeddings,
    rmsNormEps: config.rms_norm_eps,
    queryPreAttnScalar: config.query_pre_attn_scalar,
    slidingWindow: config.sliding_window,
    hiddenActivation: config.hidden_activation ?? "gelu_pytorch_tanh",
    attentionBias: config.attention_bias,
    attentionDropout: config.attention_dropout ?? 0,
    tieWordEmbeddings: config.tie_word_embeddings,
    initializerRange: config.initializer_range,
  };
}

function baseEntries({ modelType, ropeTheta, ropeScaling, ropeLocalBaseFreq, ...plain }: GemmaConfig) {
  return { ...snakeKeys(plain), hidden_act: plain.hiddenActivation };
}

/** Layers with a window, every `pattern`th without. */
const slidingBut = (layers: number, pattern: number): LayerType[] =>
  Array.from({ length: layers }, (_, i) => ((i + 1) % pattern === 0 ? "full_attention" : "sliding_attention"));

const softCap = z.number().positive().nullish();

export const gemma2 = architecture(
  "Gemma2ForCausalLM",
  z.object({
    ...base,
    max_position_embeddings: count.default(8192),
    attn_logit_softcapping: softCap.default(50),
    final_logit_softcapping: softCap.default(30),
  }),
  (config) => {
    const { ropeTheta, ropeScaling } = ropeSettings(config);
    return new Gemma({
      ...baseOptions(config),
      ...{ modelType: "gemma2", ropeTheta, ropeScaling },
      layerTypes: config.layer_types ?? slidingBut(config.num_hidden_layers, 2),
      attnLogitSoftcapping: config.attn_logit_softcapping ?? null,
      finalLogitSoftcapping: config.final_logit_softcapping ?? null,
    });
  },
  (config) => ({ ...baseEntries(config), ...ropeAsEntries(config) }),
);

/** Newer releases of transformers write rotary positions for each type of layer. */
const perLayerType = z.object({ full_attention: ropeEntries.rope_parameters, sliding_attention: ropeEntries.rope_parameters });

export const gemma3 = architecture(
  "Gemma3ForCausalLM",
  z.object({
    ...base,
    rope_parameters: perLayerType.nullish(),
    rope_local_base_freq: z.number().positive().default(10_000),
    max_position_embeddings: count.default(131_072),
    sliding_window_pattern: count.default(6),
    attn_logit_softcapping: only(null),
    final_logit_softcapping: softCap,
  }),
  ({ rope_parameters, rope_local_base_freq, ...config }) => {
    const given = { ...config, rope_scaling: config.rope_scaling ?? rope_parameters?.full_attention };
    const { ropeTheta, ropeScaling } = ropeSettings(given, 1_000_000);
    return new Gemma({
      ...baseOptions({ ...config, rope_parameters: null }),
      ...{ modelType: "gemma3_text", ropeTheta, ropeScaling },
      ropeLocalBaseFreq: rope_parameters?.sliding_attention?.rope_theta ?? rope_local_base_freq,
      layerTypes: config.layer_types ?? slidingBut(config.num_hidden_layers, config.sliding_window_pattern),
      finalLogitSoftcapping: config.final_logit_softcapping ?? null,
    });
  },
  (config) => {
    const { rope_parameters, ...rope } = ropeAsEntries(config);
    const local = config.ropeLocalBaseFreq ?? config.ropeTheta;
    const sliding = { rope_type: "default", rope_theta: local };
    return {
      ...baseEntries(config),
      ...rope,
      rope_local_base_freq: local,
      rope_parameters: { full_attention: rope_parameters, sliding_attention: sliding },
    };
  },
);
