/** `config.json` of GPT-2. */

import * as z from "zod";
import { GPT2 } from "../gpt2.js";
import { architecture, camelKeys, count, epsilon, flag, only, share, snakeKeys } from "./entries.js";

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
    initializer_range: z.number().positive().default(0.02),
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
  ({ n_inner, activation_function, scale_attn_weights, add_cross_attention, tie_word_embeddings, ...config }) => {
    const { scale_attn_by_inverse_layer_idx, ...sizes } = config;
    return new GPT2({ ...camelKeys(sizes), nInner: n_inner ?? 4 * config.n_embd });
  },
  (config) => ({ ...snakeKeys(config), activation_function: "gelu_new", tie_word_embeddings: true }),
);
