/** `config.json` of GPT-2 and of those that followed it: GPT-J, GPT-NeoX, BLOOM, Phi 1 to 4. */

import * as z from "zod";
import { Bloom } from "../decoders/bloom.js";
import { GPTNeoX } from "../decoders/gpt-neox.js";
import { GPT2 } from "../decoders/gpt2.js";
import { GPTJ } from "../decoders/gptj.js";
import { Phi } from "../decoders/phi.js";
import { Phi3 } from "../decoders/phi3.js";
import {
  activation,
  architecture,
  camelKeys,
  count,
  epsilon,
  flag,
  only,
  ropeAsEntries,
  ropeEntries,
  ropeSettings,
  rotaryShare,
  share,
  snakeKeys,
  withoutRope,
} from "./entries.js";

const deviation = z.number().positive().default(0.02);

export const gpt2 = architecture(
  "GPT2LMHeadModel",
  z.object({
    vocab_size: count,
    n_embd: count.default(768),
    n_layer: count.default(12),
    n_head: count.default(12),
    n_positions: count.default(1024),
    n_inner: count.nullish(),
    layer_norm_epsilon: epsilon.default(1e-5),
    initializer_range: deviation,
    embd_pdrop: share.default(0.1),
    attn_pdrop: share.default(0.1),
    resid_pdrop: share.default(0.1),
    bias: flag(true),
    activation_function: only("gelu_new", "gelu_pytorch_tanh"),
    scale_attn_weights: only(true),
    scale_attn_by_inverse_layer_idx: only(false),
    add_cross_attention: only(false),
    tie_word_embeddings: only(true),
  }),
  (config) =>
    new GPT2({
      vocabSize: config.vocab_size,
      nEmbd: config.n_embd,
      nLayer: config.n_layer,
      nHead: config.n_head,
      nPositions: config.n_positions,
      nInner: config.n_inner ?? 4 * config.n_embd,
      layerNormEpsilon: config.layer_norm_epsilon,
      initializerRange: config.initializer_range,
      embdPdrop: config.embd_pdrop,
      attnPdrop: config.attn_pdrop,
      residPdrop: config.resid_pdrop,
      bias: config.bias,
    }),
  (config) => ({ ...snakeKeys(config), activation_function: "gelu_new", tie_word_embeddings: true }),
);

export const gptj = architecture(
  "GPTJForCausalLM",
  z.object({
    vocab_size: count,
    n_embd: count,
    n_layer: count,
    n_head: count,
    n_positions: count.default(2048),
    n_inner: count.nullish(),
    rotary_dim: count.nullish().default(64),
    layer_norm_epsilon: epsilon.default(1e-5),
    activation_function: activation.default("gelu_new"),
    initializer_range: deviation,
    embd_pdrop: share.default(0),
    attn_pdrop: share.default(0),
    resid_pdrop: share.default(0),
    tie_word_embeddings: only(false),
  }),
  ({ n_inner, rotary_dim, tie_word_embeddings, ...plain }) => {
    const nInner = n_inner ?? 4 * plain.n_embd;
    return new GPTJ({ ...camelKeys(plain), nInner, rotaryDim: rotary_dim ?? plain.n_embd / plain.n_head });
  },
  (config) => ({ ...snakeKeys(config), tie_word_embeddings: false }),
);

export const gptNeoX = architecture(
  "GPTNeoXForCausalLM",
  z.object({
    vocab_size: count,
    hidden_size: count,
    intermediate_size: count,
    num_hidden_layers: count,
    num_attention_heads: count,
    layer_norm_eps: epsilon.default(1e-5),
    hidden_act: activation.default("gelu"),
    use_parallel_residual: flag(true),
    attention_bias: flag(true),
    attention_dropout: share.default(0),
    hidden_dropout: share.default(0),
    tie_word_embeddings: flag(false),
    initializer_range: deviation,
    /** What `rope_theta` and `partial_rotary_factor` were called first. */
    rotary_emb_base: z.number().positive().nullish(),
    rotary_pct: rotaryShare.nullish(),
    ...ropeEntries,
    max_position_embeddings: count.default(2048),
  }),
  ({ rotary_emb_base, rotary_pct, ...config }) => {
    const rope = ropeSettings(config, rotary_emb_base ?? 10_000, rotary_pct ?? 0.25);
    return new GPTNeoX({ ...camelKeys(withoutRope(config)), ...rope });
  },
  ({ ropeTheta, ropeScaling, partialRotaryFactor, ...plain }) => ({
    ...snakeKeys(plain),
    ...ropeAsEntries({ ropeTheta, ropeScaling, partialRotaryFactor }),
    rotary_emb_base: ropeTheta,
    rotary_pct: partialRotaryFactor,
  }),
);

export const phi = architecture(
  "PhiForCausalLM",
  z.object({
    vocab_size: count,
    hidden_size: count,
    intermediate_size: count,
    num_hidden_layers: count,
    num_attention_heads: count,
    num_key_value_heads: count.nullish(),
    layer_norm_eps: epsilon.default(1e-5),
    hidden_act: activation.default("gelu_new"),
    qk_layernorm: flag(false),
    embd_pdrop: share.default(0),
    attention_dropout: share.default(0),
    resid_pdrop: share.default(0),
    tie_word_embeddings: only(false),
    initializer_range: deviation,
    ...ropeEntries,
    max_position_embeddings: count.default(2048),
  }),
  ({ num_key_value_heads, tie_word_embeddings, ...config }) => {
    const numKeyValueHeads = num_key_value_heads ?? config.num_attention_heads;
    return new Phi({ ...camelKeys(withoutRope(config)), numKeyValueHeads, ...ropeSettings(config, 10_000, 0.5) });
  },
  ({ ropeTheta, ropeScaling, partialRotaryFactor, ...plain }) => ({
    ...snakeKeys(plain),
    ...ropeAsEntries({ ropeTheta, ropeScaling, partialRotaryFactor }),
    partial_rotary_factor: partialRotaryFactor,
    tie_word_embeddings: false,
  }),
);

const phi3Entries = z.object({
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  rms_norm_eps: epsilon.default(1e-5),
  hidden_act: activation.default("silu"),
  sliding_window: count.nullish(),
  embd_pdrop: share.default(0),
  attention_dropout: share.default(0),
  resid_pdrop: share.default(0),
  tie_word_embeddings: flag(false),
  initializer_range: deviation,
  ...ropeEntries,
  max_position_embeddings: count.default(4096),
});

/** LongRoPE was "su" at first, and "yarn" in some releases that mean it as well. */
const namedLongRope = (config: unknown): unknown => {
  const { rope_scaling: scaling } = config as { rope_scaling?: { type?: string; rope_type?: string } | null };
  const isOldName = ["su", "yarn"].includes(scaling?.rope_type ?? scaling?.type ?? "");
  return isOldName ? { ...(config as object), rope_scaling: { ...scaling, type: undefined, rope_type: "longrope" } } : config;
};

export const phi3 = architecture(
  "Phi3ForCausalLM",
  z.preprocess(namedLongRope, phi3Entries),
  ({ num_key_value_heads, sliding_window, ...config }) => {
    const numKeyValueHeads = num_key_value_heads ?? config.num_attention_heads;
    const slidingWindow = sliding_window ?? null;
    return new Phi3({ ...camelKeys(withoutRope(config)), numKeyValueHeads, slidingWindow, ...ropeSettings(config) });
  },
  ({ ropeTheta, ropeScaling, partialRotaryFactor, ...plain }) => ({
    ...snakeKeys(plain),
    ...ropeAsEntries({ ropeTheta, ropeScaling, partialRotaryFactor }),
    original_max_position_embeddings:
      ropeScaling && "originalMaxPositionEmbeddings" in ropeScaling
        ? ropeScaling.originalMaxPositionEmbeddings
        : plain.maxPositionEmbeddings,
  }),
);

export const bloom = architecture(
  "BloomForCausalLM",
  z.object({
    vocab_size: count,
    hidden_size: count.nullish(),
    /** What `hidden_size` was called first. */
    n_embed: count.nullish(),
    n_layer: count.default(2),
    n_head: count.default(8),
    seq_length: count.default(2048),
    layer_norm_epsilon: epsilon.default(1e-5),
    apply_residual_connection_post_layernorm: flag(false),
    attention_dropout: share.default(0),
    hidden_dropout: share.default(0),
    initializer_range: deviation,
    tie_word_embeddings: only(true),
  }),
  ({ hidden_size, n_embed, tie_word_embeddings, ...plain }) =>
    new Bloom({ ...camelKeys(plain), hiddenSize: n_embed ?? hidden_size ?? 64 }),
  (config) => ({ ...snakeKeys(config), tie_word_embeddings: true }),
);
