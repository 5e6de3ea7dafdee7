/** `config.json` of OLMo 2. */

import * as z from "zod";
import { Olmo2 } from "../decoders/olmo2.js";
import {
  activation,
  architecture,
  camelKeys,
  count,
  epsilon,
  flag,
  ropeAsEntries,
  ropeEntries,
  ropeSettings,
  share,
  snakeKeys,
  withoutRope,
} from "./entries.js";

export const olmo2 = architecture(
  "Olmo2ForCausalLM",
  z.object({
    vocab_size: count,
    hidden_size: count,
    intermediate_size: count,
    num_hidden_layers: count,
    num_attention_heads: count,
    num_key_value_heads: count.nullish(),
    rms_norm_eps: epsilon.default(1e-5),
    hidden_act: activation.default("silu"),
    attention_bias: flag(false),
    attention_dropout: share.default(0),
    tie_word_embeddings: flag(false),
    initializer_range: z.number().positive().default(0.02),
    ...ropeEntries,
    max_position_embeddings: count.default(2048),
  }),
  ({ num_key_value_heads, ...config }) => {
    const { ropeTheta, ropeScaling } = ropeSettings(config);
    const numKeyValueHeads = num_key_value_heads ?? config.num_attention_heads;
    return new Olmo2({ ...camelKeys(withoutRope(config)), numKeyValueHeads, ropeTheta, ropeScaling });
  },
  ({ ropeTheta, ropeScaling, ...plain }) => ({ ...snakeKeys(plain), ...ropeAsEntries({ ropeTheta, ropeScaling }) }),
);
