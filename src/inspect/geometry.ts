/** The sizes of a decoder that its costs depend on, read from its `config.json`. */

import * as z from "zod";
import { TsumikiError } from "../errors.js";
import type { HuggingFaceConfig } from "../models/architectures.js";

export interface DecoderGeometry {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values. */
  readonly kvHeads: number;
  readonly headDim: number;
  /** For each layer: how many keys a query sees at most; undefined where there is no window. */
  readonly windows: readonly (number | undefined)[];
  /** Experts of a mixture, and how many of them compute each token. Both 1 in a dense model. */
  readonly experts: number;
  readonly expertsPerToken: number;
}

const count = z.int().positive().nullish();

/** Every entry under its common name; older architectures have names of their own. */
const schema = z.looseObject({
  model_type: z.string(),
  num_hidden_layers: count,
  n_layer: count,
  num_layers: count,
  hidden_size: count,
  n_embd: count,
  d_model: count,
  num_attention_heads: count,
  n_head: count,
  num_key_value_heads: count,
  head_dim: count,
  sliding_window: count,
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.int().nonnegative().nullish(),
  layer_types: z.array(z.string()).nullish(),
  num_local_experts: count,
  num_experts: count,
  n_routed_experts: count,
  num_experts_per_tok: count,
});

/** @throws TsumikiError CONFIG where the layers, the width or the heads are not given */
export function decoderGeometry(config: HuggingFaceConfig, source = "The configuration"): DecoderGeometry {
  const parsed = schema.safeParse(config);
  if (!parsed.success)
    throw new TsumikiError("CONFIG", `${source} does not describe a decoder:\n${z.prettifyError(parsed.error)}`);
  const entries = parsed.data;
  const required = (name: string, ...values: readonly (number | null | undefined)[]): number => {
    const value = values.find((given) => typeof given === "number");
    if (typeof value === "number") return value;
    throw new TsumikiError("CONFIG", `${source} does not say ${name}, which the costs of a model depend on.`);
  };
  const layers = required("num_hidden_layers", entries.num_hidden_layers, entries.n_layer, entries.num_layers);
  const hiddenSize = required("hidden_size", entries.hidden_size, entries.n_embd, entries.d_model);
  const heads = required("num_attention_heads", entries.num_attention_heads, entries.n_head);
  const experts = entries.num_local_experts ?? entries.num_experts ?? entries.n_routed_experts ?? 1;
  return {
    layers,
    hiddenSize,
    heads,
    kvHeads: entries.num_key_value_heads ?? heads,
    headDim: entries.head_dim ?? hiddenSize / heads,
    windows: Array.from({ length: layers }, (_, layer) => windowOf(entries, layer)),
    experts,
    expertsPerToken: experts === 1 ? 1 : required("num_experts_per_tok", entries.num_experts_per_tok),
  };
}

function windowOf(config: z.infer<typeof schema>, layer: number): number | undefined {
  const { sliding_window: window, use_sliding_window: used, max_window_layers: firstWindowed, layer_types: types } = config;
  if (typeof window !== "number" || used === false) return undefined;
  if (types) return types[layer] === "sliding_attention" ? window : undefined;
  // Qwen 2 and 3: the first layers see everything.
  return used === true && typeof firstWindowed === "number" && layer < firstWindowed ? undefined : window;
}
