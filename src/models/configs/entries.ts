/** Entries of Hugging Face's `config.json` that several architectures share, checked and translated in both directions. */

import * as z from "zod";
import { toCheckpointName } from "../../checkpoint/names.js";
import { activations } from "../../nn/feed-forward.js";
import { type RopeScaling, ropeTypes } from "../../nn/rope-scaling.js";
import type { CausalLM } from "../causal-lm.js";
import type { Model, ModelKind, ModelKinds } from "../model.js";

/** The content of a `config.json`. */
export type HuggingFaceConfig = Readonly<Record<string, unknown>>;

/** How an architecture's configuration is read and written. */
export interface Architecture {
  readonly kind: ModelKind;
  /** The class of transformers that has it. */
  readonly className: string;
  /** Checks a `config.json` and makes the model that it describes. */
  readonly read: z.ZodType<Model>;
  /** The entries of `config.json` for a model. */
  readonly write: (model: Model) => HuggingFaceConfig;
}

interface ArchitectureDefinition<K extends ModelKind, S extends z.ZodType, M extends ModelKinds[K]> {
  readonly kind: K;
  readonly className: string;
  /** Entries of `config.json` by their names there. */
  readonly entries: S;
  /** The model that they describe. */
  readonly make: (entries: z.output<S>) => M;
  /** What the model is in `config.json`. */
  readonly write: (model: M) => HuggingFaceConfig;
}

export function defineArchitecture<K extends ModelKind, S extends z.ZodType, M extends ModelKinds[K]>(
  definition: ArchitectureDefinition<K, S, M>,
): Architecture {
  const { kind, className, entries, make, write } = definition;
  return {
    ...{ kind, className },
    read: entries.transform((config) => make(config)) as unknown as z.ZodType<Model>,
    write: (model) => write(model as unknown as M),
  };
}

/**
 * A language model's.
 *
 * @param write what the model's `toConfig()` is in `config.json`
 */
export const architecture = <S extends z.ZodType, M extends CausalLM>(
  className: string,
  entries: S,
  make: (config: z.output<S>) => M,
  write: (config: ReturnType<M["toConfig"]>) => HuggingFaceConfig,
): Architecture =>
  defineArchitecture({
    ...{ kind: "causal-lm", className, entries, make },
    write: (model) => write(model.toConfig() as ReturnType<M["toConfig"]>),
  });

export const count = z.int().positive();
/** Of values that are dropped. */
export const share = z.number().min(0).lt(1);
/** Of a head's features that are rotated. */
export const rotaryShare = z.number().min(0).max(1);
export const epsilon = z.number().positive();
export const flag = (value: boolean) => z.boolean().default(value);

/** An entry that would change the computation: it must have this value, or be absent. */
export const only = <const T extends readonly (string | number | boolean | null)[]>(...values: T) => z.literal(values).optional();

/** The name of an activation. */
export const activation = z.enum(Object.keys(activations) as [keyof typeof activations, ...(keyof typeof activations)[]]);

export const layerTypes = z.array(z.enum(["full_attention", "sliding_attention"])).nullish();

type Camel<S extends string> = S extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : S;

/** The same entries under the names that properties have here: `num_hidden_layers` → `numHiddenLayers`. */
export function camelKeys<T extends object>(entries: T): { [K in keyof T as K extends string ? Camel<K> : never]: T[K] } {
  const camel = (key: string) => key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(entries).map(([key, value]) => [camel(key), value])) as never;
}

/** And back. */
export const snakeKeys = (entries: object): HuggingFaceConfig =>
  Object.fromEntries(Object.entries(entries).map(([key, value]) => [toCheckpointName(key), value]));

const positive = z.number().positive();

/** `rope_scaling` or `rope_parameters`: releases of transformers differ in where what stands. */
const rope = z
  .object({
    rope_type: z.enum(ropeTypes).nullish(),
    /** What `rope_type` was called first. */
    type: z.enum(ropeTypes).nullish(),
    rope_theta: positive.nullish(),
    partial_rotary_factor: rotaryShare.nullish(),
    factor: positive.nullish(),
    original_max_position_embeddings: count.nullish(),
    attention_factor: positive.nullish(),
    beta_fast: positive.nullish(),
    beta_slow: positive.nullish(),
    mscale: z.number().min(0).nullish(),
    mscale_all_dim: z.number().min(0).nullish(),
    truncate: z.boolean().nullish(),
    low_freq_factor: positive.nullish(),
    high_freq_factor: positive.nullish(),
    short_factor: z.array(positive).nullish(),
    long_factor: z.array(positive).nullish(),
  })
  .nullish()
  .superRefine((given, context) => {
    for (const name of required[given?.rope_type ?? given?.type ?? "default"])
      if (given?.[name] == null)
        context.addIssue({ code: "custom", path: [name], message: `${given?.rope_type ?? given?.type} needs it` });
  });

const required = {
  default: [],
  linear: ["factor"],
  dynamic: ["factor"],
  yarn: ["factor"],
  longrope: ["short_factor", "long_factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor"],
} as const;

type Rope = z.output<typeof rope>;

export const ropeEntries = {
  rope_theta: positive.nullish(),
  partial_rotary_factor: rotaryShare.nullish(),
  rope_scaling: rope,
  rope_parameters: rope,
  max_position_embeddings: count,
  /** The context before it was stretched, where it does not stand beside the rest (Phi 3). */
  original_max_position_embeddings: count.nullish(),
};

interface RopeGiven {
  readonly rope_theta?: number | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
  readonly rope_scaling?: Rope;
  readonly rope_parameters?: Rope;
  readonly max_position_embeddings: number;
  readonly original_max_position_embeddings?: number | null | undefined;
}

type RopeName = "rope_theta" | "partial_rotary_factor" | "rope_scaling" | "rope_parameters" | "original_max_position_embeddings";

/** The entries that are not about rotary positions. */
export function withoutRope<T extends RopeGiven>(config: T): Omit<T, RopeName> {
  const { rope_theta, partial_rotary_factor, rope_scaling, rope_parameters, original_max_position_embeddings, ...plain } = config;
  return plain;
}

export interface RopeSettings {
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  readonly partialRotaryFactor: number;
}

/** What a `config.json` says about rotary positions, wherever it says it. */
export function ropeSettings(given: RopeGiven, defaultTheta = 10_000, defaultShare = 1): RopeSettings {
  const rope = given.rope_scaling ?? given.rope_parameters;
  return {
    ropeTheta: rope?.rope_theta ?? given.rope_parameters?.rope_theta ?? given.rope_theta ?? defaultTheta,
    ropeScaling: ropeScaling(rope, given),
    partialRotaryFactor:
      rope?.partial_rotary_factor ?? given.rope_parameters?.partial_rotary_factor ?? given.partial_rotary_factor ?? defaultShare,
  };
}

function ropeScaling(rope: Rope, given: RopeGiven): RopeScaling | null {
  const ropeType = rope?.rope_type ?? rope?.type ?? "default";
  const number = (name: "factor" | "low_freq_factor" | "high_freq_factor") => rope?.[name] ?? 1;
  const optional = <T>(value: T | null | undefined) => value ?? undefined;
  const factor = number("factor");
  const originalMaxPositionEmbeddings =
    given.original_max_position_embeddings ?? rope?.original_max_position_embeddings ?? given.max_position_embeddings;
  switch (ropeType) {
    case "default":
      return null;
    case "linear":
    case "dynamic":
      return { ropeType, factor };
    case "yarn":
      return {
        ...{ ropeType, factor, originalMaxPositionEmbeddings },
        ...{ betaFast: optional(rope?.beta_fast), betaSlow: optional(rope?.beta_slow) },
        ...{ attentionFactor: optional(rope?.attention_factor), truncate: optional(rope?.truncate) },
        ...{ mscale: optional(rope?.mscale), mscaleAllDim: optional(rope?.mscale_all_dim) },
      };
    case "longrope":
      return {
        ...{ ropeType, factor: rope?.factor ?? given.max_position_embeddings / originalMaxPositionEmbeddings },
        ...{ originalMaxPositionEmbeddings, attentionFactor: optional(rope?.attention_factor) },
        ...{ shortFactor: rope?.short_factor ?? [], longFactor: rope?.long_factor ?? [] },
      };
    case "llama3":
      return {
        ...{ ropeType, factor, originalMaxPositionEmbeddings },
        ...{ lowFreqFactor: number("low_freq_factor"), highFreqFactor: number("high_freq_factor") },
      };
  }
}

/** Rotary positions where newer releases of transformers look for them (`rope_parameters`), and where older ones do. */
export function ropeAsEntries({ ropeTheta, ropeScaling, partialRotaryFactor = 1 }: Partial<RopeSettings>): HuggingFaceConfig {
  const scaling = ropeScaling ? snakeKeys(defined(ropeScaling)) : null;
  const partial = partialRotaryFactor === 1 ? {} : { partial_rotary_factor: partialRotaryFactor };
  return {
    rope_theta: ropeTheta,
    ...partial,
    rope_scaling: scaling,
    rope_parameters: { rope_type: "default", ...scaling, rope_theta: ropeTheta, ...partial },
  };
}

/** Without the entries that are undefined. */
const defined = (entries: object): object =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));

/** Entries that transformers wants as Python's float, which JSON tells from an int by its point alone. */
const floats = [
  ...["attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "initializer_range", "router_aux_loss_coef"],
  ...["rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "attention_dropout", "rope_theta", "factor"],
  ...["partial_rotary_factor", "attention_factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"],
];

/** The text of a `config.json`. */
export const configText = (config: HuggingFaceConfig): string =>
  `${JSON.stringify(config, null, 2)}\n`.replace(
    new RegExp(`("(?:${floats.join("|")})": -?\\d+)(?=,?\\n)`, "g"),
    (entry) => `${entry}.0`,
  );
