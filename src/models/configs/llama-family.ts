/** `config.json` of the Llama-style decoders. */

import * as z from "zod";
import { ArgumentError } from "../../errors.js";
import type { LayerType } from "../causal-lm.js";
import { Llama } from "../decoders/llama.js";
import type { LlamaConfig, LlamaExperts, LlamaModelType, LlamaOptions } from "../decoders/llama-options.js";
import {
  type Architecture,
  activation,
  architecture,
  camelKeys,
  count,
  epsilon,
  flag,
  type HuggingFaceConfig,
  layerTypes,
  only,
  ropeAsEntries,
  ropeEntries,
  ropeSettings,
  share,
  snakeKeys,
} from "./entries.js";

const base = z.object({
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  rms_norm_eps: epsilon.default(1e-6),
  tie_word_embeddings: flag(false),
  initializer_range: z.number().positive().default(0.02),
  hidden_act: activation.default("silu"),
  attention_dropout: share.nullish(),
  ...ropeEntries,
  max_position_embeddings: count.default(2048),
});

type Base = z.output<typeof base>;

/** Settings that every member has. */
function baseOptions(config: Base, defaultTheta?: number): LlamaOptions {
  const { ropeTheta, ropeScaling } = ropeSettings(config, defaultTheta);
  return {
    vocabSize: config.vocab_size,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    numHiddenLayers: config.num_hidden_layers,
    numAttentionHeads: config.num_attention_heads,
    numKeyValueHeads: config.num_key_value_heads ?? config.num_attention_heads,
    headDim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
    maxPositionEmbeddings: config.max_position_embeddings,
    rmsNormEps: config.rms_norm_eps,
    tieWordEmbeddings: config.tie_word_embeddings,
    initializerRange: config.initializer_range,
    hiddenAct: config.hidden_act,
    attentionDropout: config.attention_dropout ?? 0,
    ropeTheta,
    ropeScaling,
  };
}

function baseEntries(config: LlamaConfig): HuggingFaceConfig {
  const { modelType, attentionBias, mlpBias, queryKeyNorm, slidingWindow, layerTypes, noRopeLayers, experts, ...rest } = config;
  const { ropeTheta, ropeScaling, ...plain } = rest;
  return { ...snakeKeys(plain), ...ropeAsEntries({ ropeTheta, ropeScaling }) };
}

/** A member of the family: what it adds to the entries, and to the settings. */
function member<S extends z.ZodRawShape>(
  modelType: LlamaModelType,
  className: string,
  shape: S,
  options: (config: Base & z.output<z.ZodObject<S>>) => Partial<LlamaOptions>,
  entries: (config: LlamaConfig) => HuggingFaceConfig,
  defaultTheta?: number,
): Architecture {
  return architecture(
    className,
    base.extend(shape),
    (given) => {
      const config = given as Base & z.output<z.ZodObject<S>>;
      return new Llama({ modelType, ...baseOptions(config, defaultTheta), ...options(config) });
    },
    (config) => ({ ...baseEntries(config), ...entries(config) }),
  );
}

const window = {
  use_sliding_window: flag(false),
  sliding_window: count.nullish().default(4096),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerTypes,
};

/** Qwen's windows: in the layers from `max_window_layers` on, unless `layer_types` says which. */
function windowOptions(config: z.output<z.ZodObject<typeof window>> & Base): Partial<LlamaOptions> {
  if (!config.use_sliding_window || !config.sliding_window) return {};
  const byDepth = Array.from(
    { length: config.num_hidden_layers },
    (_, i): LayerType => (i >= config.max_window_layers ? "sliding_attention" : "full_attention"),
  );
  return { slidingWindow: config.sliding_window, layerTypes: config.layer_types ?? byDepth };
}

/** Whether windows are used, and where. */
const windowEntries = ({ slidingWindow, layerTypes, numHiddenLayers }: LlamaConfig): HuggingFaceConfig => ({
  use_sliding_window: slidingWindow !== null,
  sliding_window: slidingWindow,
  layer_types: layerTypes ?? Array(numHiddenLayers).fill(slidingWindow === null ? "full_attention" : "sliding_attention"),
  max_window_layers: layerTypes?.indexOf("sliding_attention") ?? (slidingWindow === null ? numHiddenLayers : 0),
});

const biases = { attention_bias: flag(false), mlp_bias: flag(false) };
const biasEntries = ({ attentionBias, mlpBias }: LlamaConfig) => ({ attention_bias: attentionBias, mlp_bias: mlpBias });

/** How many experts a token goes through. Throws an ArgumentError where there are fewer. `among`: `{ num_local_experts: 8 }` */
function chosen(num_experts_per_tok: number, among: Readonly<Record<string, number>>): number {
  const [[name, count]] = Object.entries(among) as [[string, number]];
  if (num_experts_per_tok <= count) return num_experts_per_tok;
  throw new ArgumentError(`num_experts_per_tok is ${num_experts_per_tok}, but ${name} is ${count}.`);
}

const mixtralExperts = {
  num_local_experts: count.default(8),
  num_experts_per_tok: count.default(2),
  router_aux_loss_coef: z.number().min(0).default(0.001),
  router_jitter_noise: only(0),
  sliding_window: count.nullish(),
};

const qwenExperts = {
  num_experts: count.nullish(),
  num_local_experts: count.nullish(),
  num_experts_per_tok: count.default(8),
  moe_intermediate_size: count.default(768),
  norm_topk_prob: flag(false),
  router_aux_loss_coef: z.number().min(0).default(0.001),
  decoder_sparse_step: count.default(1),
  mlp_only_layers: z.array(z.int().min(0)).nullish(),
  attention_bias: flag(false),
  ...window,
};

/** Layers without experts: those that are named, and those between every `step`th. */
const denseLayers = (layers: number, step: number, named: readonly number[] = []): number[] =>
  Array.from({ length: layers }, (_, i) => i).filter((i) => named.includes(i) || (i + 1) % step !== 0);

const expertEntries = ({ experts }: LlamaConfig) => ({
  num_experts: experts?.count,
  num_experts_per_tok: experts?.perToken,
  moe_intermediate_size: experts?.intermediateSize,
  norm_topk_prob: experts?.normalizeWeights,
  router_aux_loss_coef: experts?.balancing,
});

const minimind = {
  use_moe: flag(false),
  inference_rope_scaling: flag(false),
  dropout: only(0),
  /** MiniMind 2 has these and no normalization of queries and keys, MiniMind 3 those below. */
  n_routed_experts: count.nullish(),
  n_shared_experts: z.int().min(0).default(1),
  aux_loss_alpha: z.number().min(0).default(0.01),
  seq_aux: flag(true),
  scoring_func: only("softmax"),
  num_experts: count.nullish(),
  num_experts_per_tok: count.default(1),
  moe_intermediate_size: count.nullish(),
  norm_topk_prob: flag(true),
  router_aux_loss_coef: z.number().min(0).default(5e-4),
};

function minimindOptions(config: Base & z.output<z.ZodObject<typeof minimind>>): Partial<LlamaOptions> {
  const isSecond = config.n_routed_experts != null;
  if (!config.use_moe) return { queryKeyNorm: !isSecond, experts: null };
  const count = config.n_routed_experts ?? config.num_experts ?? 4;
  const experts: LlamaExperts = {
    count,
    perToken: chosen(config.num_experts_per_tok, { [isSecond ? "n_routed_experts" : "num_experts"]: count }),
    intermediateSize: isSecond ? config.intermediate_size : (config.moe_intermediate_size ?? config.intermediate_size),
    // The second leaves a single expert its probability.
    normalizeWeights: config.norm_topk_prob && !(isSecond && config.num_experts_per_tok === 1),
    ...(isSecond ? { shared: config.n_shared_experts } : {}),
    // The second counts shares of choices, of which a token makes several.
    balancing: isSecond ? config.aux_loss_alpha / config.num_experts_per_tok : config.router_aux_loss_coef,
    balancedBy: isSecond && config.seq_aux ? "text" : "layer",
  };
  return { queryKeyNorm: !isSecond, experts };
}

function minimindEntries({ queryKeyNorm, experts, ropeScaling }: LlamaConfig): HuggingFaceConfig {
  const common = {
    use_moe: experts !== null,
    inference_rope_scaling: ropeScaling !== null,
    num_experts_per_tok: experts?.perToken ?? 1,
    norm_topk_prob: experts?.normalizeWeights ?? true,
  };
  if (queryKeyNorm)
    return {
      ...common,
      num_experts: experts?.count ?? 4,
      ...(experts ? { moe_intermediate_size: experts.intermediateSize } : {}),
      router_aux_loss_coef: experts?.balancing ?? 5e-4,
    };
  const shared = experts?.shared ?? 0;
  return {
    ...common,
    n_routed_experts: experts?.count ?? 4,
    n_shared_experts: shared,
    aux_loss_alpha: experts ? Number((experts.balancing * experts.perToken).toPrecision(15)) : 0.01, // as it was read
    seq_aux: experts?.balancedBy !== "layer",
  };
}

export const llamaFamily: Readonly<Record<LlamaModelType, Architecture>> = {
  llama: member(
    "llama",
    "LlamaForCausalLM",
    biases,
    ({ attention_bias, mlp_bias }) => camelKeys({ attention_bias, mlp_bias }),
    biasEntries,
  ),
  mistral: member(
    "mistral",
    "MistralForCausalLM",
    { max_position_embeddings: count.default(131_072), sliding_window: count.nullish().default(4096) },
    ({ sliding_window }) => ({ slidingWindow: sliding_window ?? null }),
    ({ slidingWindow }) => ({ sliding_window: slidingWindow }),
  ),
  qwen2: member(
    "qwen2",
    "Qwen2ForCausalLM",
    { max_position_embeddings: count.default(32_768), ...window },
    windowOptions,
    windowEntries,
  ),
  qwen3: member(
    "qwen3",
    "Qwen3ForCausalLM",
    { max_position_embeddings: count.default(32_768), head_dim: count.default(128), attention_bias: flag(false), ...window },
    (config) => ({ attentionBias: config.attention_bias, ...windowOptions(config) }),
    (config) => ({ attention_bias: config.attentionBias, ...windowEntries(config) }),
  ),
  smollm3: member(
    "smollm3",
    "SmolLM3ForCausalLM",
    {
      max_position_embeddings: count.default(32_768),
      tie_word_embeddings: flag(true),
      no_rope_layers: z.array(z.literal([0, 1])).nullish(),
      no_rope_layer_interval: count.default(4),
      ...biases,
      ...window,
      sliding_window: count.nullish(),
    },
    (config) => {
      const byInterval = (_: unknown, i: number) => ((i + 1) % config.no_rope_layer_interval === 0 ? 0 : 1);
      const noRopeLayers = config.no_rope_layers ?? Array.from({ length: config.num_hidden_layers }, byInterval);
      const byRope = noRopeLayers.map((has): LayerType => (has ? "full_attention" : "sliding_attention"));
      const windows = config.use_sliding_window && config.sliding_window != null;
      return {
        ...camelKeys({ attention_bias: config.attention_bias, mlp_bias: config.mlp_bias }),
        noRopeLayers,
        ...(windows ? { slidingWindow: config.sliding_window, layerTypes: config.layer_types ?? byRope } : {}),
      } as Partial<LlamaOptions>;
    },
    (config) => ({
      ...biasEntries(config),
      ...windowEntries(config),
      no_rope_layers: config.noRopeLayers ?? Array(config.numHiddenLayers).fill(1),
    }),
    2_000_000,
  ),
  mixtral: member(
    "mixtral",
    "MixtralForCausalLM",
    { max_position_embeddings: count.default(131_072), rms_norm_eps: epsilon.default(1e-5), ...mixtralExperts },
    (config) => ({
      slidingWindow: config.sliding_window ?? null,
      experts: {
        count: config.num_local_experts,
        perToken: chosen(config.num_experts_per_tok, { num_local_experts: config.num_local_experts }),
        intermediateSize: config.intermediate_size,
        normalizeWeights: true,
        balancing: config.router_aux_loss_coef,
      },
    }),
    ({ slidingWindow, experts }) => ({
      sliding_window: slidingWindow,
      intermediate_size: experts?.intermediateSize,
      num_local_experts: experts?.count,
      num_experts_per_tok: experts?.perToken,
      router_aux_loss_coef: experts?.balancing,
    }),
    1_000_000,
  ),
  qwen3_moe: member(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    { max_position_embeddings: count.default(32_768), ...qwenExperts },
    (config) => {
      const { num_experts, num_local_experts } = config;
      const count = num_experts ?? num_local_experts ?? 128;
      const name = num_experts == null && num_local_experts != null ? "num_local_experts" : "num_experts";
      return {
        attentionBias: config.attention_bias,
        slidingWindow: config.use_sliding_window ? (config.sliding_window ?? null) : null,
        experts: {
          count,
          perToken: chosen(config.num_experts_per_tok, { [name]: count }),
          intermediateSize: config.moe_intermediate_size,
          normalizeWeights: config.norm_topk_prob,
          denseLayers: denseLayers(config.num_hidden_layers, config.decoder_sparse_step, config.mlp_only_layers ?? []),
          balancing: config.router_aux_loss_coef,
        },
      };
    },
    (config) => ({
      attention_bias: config.attentionBias,
      use_sliding_window: config.slidingWindow !== null,
      sliding_window: config.slidingWindow,
      ...expertEntries(config),
      decoder_sparse_step: 1,
      mlp_only_layers: config.experts?.denseLayers ?? [],
    }),
  ),
  minimind: member(
    "minimind",
    "MiniMindForCausalLM",
    { max_position_embeddings: count.default(32_768), tie_word_embeddings: flag(true), ...minimind },
    minimindOptions,
    minimindEntries,
    1_000_000,
  ),
};
