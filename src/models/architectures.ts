/** Architectures by their `model_type`, and their configuration as Hugging Face's `config.json` has it. */

import * as z from "zod";
import { toCheckpointName } from "../checkpoint/names.js";
import type { MatchOptions } from "../checkpoint/variable-match.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { Variable } from "../graph/variable.js";
import type { CausalLM } from "./causal-lm.js";
import { GPT2 } from "./gpt2.js";
import { Llama } from "./llama.js";

/** The content of a `config.json`. */
export type HuggingFaceConfig = Readonly<Record<string, unknown>>;

interface Architecture {
  /** Checks a `config.json` and makes the model that it describes. */
  readonly config: z.ZodType<CausalLM>;
  /** Entries of `config.json` that transformers reads besides those of `toConfig`. */
  readonly extra: (config: HuggingFaceConfig) => HuggingFaceConfig;
}

const count = z.int().positive();
const share = z.number().min(0).max(1);
/** An entry that would change the computation: it must have this value, or be absent. */
const only = <const T extends readonly (string | number | boolean | null)[]>(...values: T) => z.literal(values).optional();

const gpt2: Architecture = {
  config: z
    .object({
      vocab_size: count,
      n_embd: count.default(768),
      n_layer: count.default(12),
      n_head: count.default(12),
      n_positions: count.default(1024),
      n_inner: count.nullish(),
      layer_norm_epsilon: z.number().positive().default(1e-5),
      initializer_range: z.number().positive().default(0.02),
      embd_pdrop: share.default(0.1),
      attn_pdrop: share.default(0.1),
      resid_pdrop: share.default(0.1),
      bias: z.boolean().default(true),
      activation_function: only("gelu_new", "gelu_pytorch_tanh"),
      scale_attn_weights: only(true),
      scale_attn_by_inverse_layer_idx: only(false),
      add_cross_attention: only(false),
      tie_word_embeddings: only(true),
    })
    .transform(
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
    ),
  extra: () => ({}),
};

const llama: Architecture = {
  config: z
    .object({
      vocab_size: count,
      hidden_size: count,
      intermediate_size: count,
      num_hidden_layers: count,
      num_attention_heads: count,
      num_key_value_heads: count.nullish(),
      head_dim: count.nullish(),
      max_position_embeddings: count.default(2048),
      rms_norm_eps: z.number().positive().default(1e-6),
      rope_theta: z.number().positive().nullish(),
      rope_parameters: z.object({ rope_type: only("default"), rope_theta: z.number().positive().optional() }).nullish(),
      rope_scaling: z.union([z.null(), z.object({ rope_type: z.literal("default") })]).optional(),
      tie_word_embeddings: z.boolean().default(false),
      initializer_range: z.number().positive().default(0.02),
      hidden_act: only("silu"),
      attention_bias: only(false),
      mlp_bias: only(false),
      attention_dropout: only(0),
    })
    .transform(
      (config) =>
        new Llama({
          vocabSize: config.vocab_size,
          hiddenSize: config.hidden_size,
          intermediateSize: config.intermediate_size,
          numHiddenLayers: config.num_hidden_layers,
          numAttentionHeads: config.num_attention_heads,
          numKeyValueHeads: config.num_key_value_heads ?? config.num_attention_heads,
          headDim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
          maxPositionEmbeddings: config.max_position_embeddings,
          rmsNormEps: config.rms_norm_eps,
          ropeTheta: config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10_000,
          tieWordEmbeddings: config.tie_word_embeddings,
          initializerRange: config.initializer_range,
        }),
    ),
  // Newer releases of transformers look into rope_parameters, older ones at rope_theta.
  extra: ({ rope_theta }) => ({
    attention_bias: false,
    mlp_bias: false,
    rope_parameters: { rope_type: "default", rope_theta },
  }),
};

const architectures: Readonly<Record<string, Architecture>> = { gpt2, llama };

/**
 * The model that a `config.json` describes, with initial values.
 *
 * @param source names the configuration in errors
 * @throws TsumikiError CONFIG for an architecture that is not here, and for entries that are missing, wrong or not supported
 */
export function modelFromConfig(config: unknown, source = "The configuration"): CausalLM {
  const type = z.object({ model_type: z.string() }).safeParse(config);
  const architecture = type.success && Object.hasOwn(architectures, type.data.model_type) && architectures[type.data.model_type];
  if (!architecture) {
    const given = type.success ? `model_type ${JSON.stringify(type.data.model_type)}` : "no model_type";
    throw new TsumikiError("CONFIG", `${source} has ${given}; known are ${Object.keys(architectures).join(", ")}.`);
  }
  try {
    return architecture.config.parse(config);
  } catch (cause) {
    if (cause instanceof ArgumentError) throw new TsumikiError("CONFIG", `${source}: ${cause.message}`, { cause }); // sizes that clash
    if (!(cause instanceof z.ZodError)) throw cause;
    throw new TsumikiError("CONFIG", `${source} does not describe a model that can be made here:\n${z.prettifyError(cause)}`);
  }
}

/** The `config.json` of a model, as Python's transformers reads it. */
export function configOf(model: CausalLM): HuggingFaceConfig {
  const own = Object.fromEntries(Object.entries(model.toConfig()).map(([key, value]) => [toCheckpointName(key), value]));
  return {
    model_type: model.modelType,
    ...own,
    ...architectures[model.modelType]?.extra(own),
    // torch_dtype is what older releases call it. Without the null ids transformers would assume those of its own tokenizers.
    dtype: "float32",
    torch_dtype: "float32",
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
  };
}

/** The variables of a model by their names in a Hugging Face checkpoint, shared ones once. */
export function checkpointVariables(model: CausalLM): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const [path, variable] of model.variables()) {
    variable.path ??= path; // the initial value of a variable that was never used depends on it
    variables.set(toCheckpointName(model.checkpointPath(path)), variable);
  }
  return variables;
}

/** How the tensors of other people's checkpoints are recognized. */
export function tensorMatch(model: CausalLM): MatchOptions {
  const tied = !checkpointVariables(model).has("lm_head.weight");
  return {
    // A checkpoint of the decoder without its output has no prefix.
    otherNames: (name) => [name.replace(/^(transformer|model)\./, "")],
    // Masks and rotary frequencies that older releases of transformers kept; an output that is the embedding once more.
    ignore: (name) => /(^|\.)(attn\.(masked_)?bias|rotary_emb\.inv_freq)$/.test(name) || (tied && name === "lm_head.weight"),
  };
}
