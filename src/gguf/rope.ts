/**
 * Scaled rotary positions in GGUF: entries that name a kind of scaling, or tables of what each frequency is divided by
 * (https://github.com/ggml-org/llama.cpp/blob/master/src/llama-context.cpp for what follows from them).
 */

import { TsumikiError } from "../errors.js";
import type { HuggingFaceConfig } from "../models/architectures.js";
import { type RopeScaling, rotaryFrequencies, stretchedRotation, type YarnScaling } from "../nn/rope-scaling.js";
import { float32, type MetadataEntry, type MetadataReader, text, uint32 } from "./metadata.js";

/** How a file says it: entries without the architecture before their names, and tensors. */
export interface GgufRope {
  readonly entries: Readonly<Record<string, MetadataEntry>>;
  readonly tables: Readonly<Record<string, Float32Array>>;
}

/** One divisor for each pair of features; or two sets, the one for contexts beyond the original one. */
const oneTable = "rope_freqs.weight";
const [shortTable, longTable] = ["rope_factors_short.weight", "rope_factors_long.weight"] as const;

/** Tensors that are no parameters of a model. */
export const ropeTables: readonly string[] = [oneTable, shortTable, longTable];

export const ropeThetaOf = (config: HuggingFaceConfig): number =>
  ((config.rope_parameters as { rope_theta?: number } | undefined)?.rope_theta ?? config.rope_theta ?? 10_000) as number;

export const headDimOf = (config: HuggingFaceConfig): number =>
  (config.head_dim ?? (config.hidden_size as number) / (config.num_attention_heads as number)) as number;

/** Features of a head that are rotated. */
export const rotaryDimOf = (config: HuggingFaceConfig): number =>
  Math.floor(headDimOf(config) * ((config.partial_rotary_factor as number | undefined) ?? 1));

const camelCase = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * How a file says what `rope_scaling` of a configuration says.
 *
 * @throws TsumikiError CONFIG for a scaling that llama.cpp has no place for in this architecture
 */
export function ggufRope(config: HuggingFaceConfig, architecture: string): GgufRope {
  const given = config.rope_scaling ?? config.rope_parameters;
  const none: GgufRope = { entries: {}, tables: {} };
  if (typeof given !== "object" || given === null) return none;
  const scaling = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [camelCase(key), value]),
  ) as unknown as RopeScaling;
  const [theta, dim] = [ropeThetaOf(config), rotaryDimOf(config)];
  switch (scaling.ropeType) {
    case "default":
      return none;
    case "linear":
      return { entries: scalingEntries("linear", scaling.factor), tables: {} };
    case "yarn":
      if (scaling.truncate === false || !hasUsualBounds(scaling)) break;
      return { entries: yarnEntries(scaling, stretchedRotation(dim, theta, scaling).attentionFactor), tables: {} };
    case "llama3": {
      if (architecture !== "llama") break;
      const { frequencies } = stretchedRotation(dim, theta, scaling);
      const divisors = rotaryFrequencies(dim, theta).map((plain, i) => plain / (frequencies[i] as number));
      return { entries: {}, tables: { [oneTable]: Float32Array.from(divisors) } };
    }
    case "longrope": {
      if (architecture !== "llama" && architecture !== "phi3") break;
      const [short, long] = [scaling.shortFactor, scaling.longFactor].map((factors) => Float32Array.from(factors));
      const { attentionFactor } = stretchedRotation(dim, theta, scaling);
      // What a file with one table becomes below.
      if (architecture === "llama" && attentionFactor === 1 && short?.every((factor, i) => factor === long?.[i]))
        return { entries: {}, tables: { [oneTable]: short } };
      return {
        entries: {
          "rope.scaling.type": text("longrope"),
          "rope.scaling.original_context_length": uint32(scaling.originalMaxPositionEmbeddings),
          "rope.scaling.attn_factor": float32(attentionFactor),
        },
        tables: { [shortTable]: short as Float32Array, [longTable]: long as Float32Array },
      };
    }
  }
  const which =
    scaling.ropeType === "yarn" ? "yarn with other bounds than beta_fast 32 and beta_slow 1, rounded," : scaling.ropeType;
  throw new TsumikiError("CONFIG", `Rotary positions scaled as ${which} cannot be written as GGUF for ${architecture}.`);
}

const scalingEntries = (type: string, factor: number): Record<string, MetadataEntry> => ({
  "rope.scaling.type": text(type),
  "rope.scaling.factor": float32(factor),
});

/** The factor on queries and keys that llama.cpp assumes; what a file says is multiplied with it (YaRN, equation 15). */
const usualYarnAttention = (factor: number): number => 1 + 0.1 * Math.log(factor);

/** llama.cpp reads others only for architectures that are not here. */
const usualBounds = { betaFast: 32, betaSlow: 1 } as const;

const hasUsualBounds = ({ betaFast = usualBounds.betaFast, betaSlow = usualBounds.betaSlow }: YarnScaling): boolean =>
  betaFast === usualBounds.betaFast && betaSlow === usualBounds.betaSlow;

const yarnEntries = (
  { factor, originalMaxPositionEmbeddings }: YarnScaling,
  attentionFactor: number,
): Record<string, MetadataEntry> => ({
  ...scalingEntries("yarn", factor),
  "rope.scaling.original_context_length": uint32(originalMaxPositionEmbeddings),
  "rope.scaling.attn_factor": float32(attentionFactor / usualYarnAttention(factor)),
});

/**
 * `rope_scaling` of the model in a file.
 *
 * @param config the rest of its configuration
 * @param tables the file's tables, by name
 * @throws TsumikiError CONFIG for a scaling that is not known here, CHECKPOINT for a table of another size
 */
export function ropeScalingOf(
  metadata: MetadataReader,
  tables: ReadonlyMap<string, Float32Array>,
  config: HuggingFaceConfig,
  source: string,
): HuggingFaceConfig | undefined {
  const pairs = rotaryDimOf(config) / 2;
  for (const [name, { length }] of tables)
    if (length !== pairs)
      throw new TsumikiError("CHECKPOINT", `${name} of ${source} has ${length} divisors, but heads have ${pairs} rotated pairs.`);
  const [one, short, long] = [oneTable, shortTable, longTable].map((name) => tables.get(name));
  const type = metadata.text("rope.scaling.type") ?? (short && long ? "longrope" : "linear");
  const factor = metadata.number("rope.scaling.factor") ?? metadata.number("rope.scale_linear");
  const original = metadata.number("rope.scaling.original_context_length") ?? (config.max_position_embeddings as number);
  const attention = metadata.number("rope.scaling.attn_factor") ?? 1;
  if (type === "longrope" && short && long)
    return {
      ...{ rope_type: "longrope", factor: (config.max_position_embeddings as number) / original },
      ...{ original_max_position_embeddings: original, attention_factor: attention },
      ...{ short_factor: [...short], long_factor: [...long] },
    };
  if (type === "yarn" && factor !== undefined && !one) return yarnOf(metadata, factor, original, attention, source);
  if (type === "none" || type === "linear") {
    const plain = type === "none" || factor === undefined || factor === 0 || factor === 1;
    const linear = plain ? undefined : { rope_type: "linear", factor: rounded(factor) };
    if (!one) return linear;
    if (!linear) return scalingOfFactors(one, config);
  }
  throw new TsumikiError(
    "CONFIG",
    `${source} scales its rotary positions as ${JSON.stringify(type)}${factor === undefined ? "" : ` by ${factor}`}` +
      `${one ? ` with ${oneTable}` : ""}; known are none, linear, yarn and longrope (with its tables), or ${oneTable} alone.`,
  );
}

function yarnOf(
  metadata: MetadataReader,
  factor: number,
  original: number,
  attention: number,
  source: string,
): HuggingFaceConfig {
  const usual = {
    ...{ yarn_ext_factor: 1, yarn_attn_factor: 1, yarn_log_multiplier: 0 },
    ...{ yarn_beta_fast: usualBounds.betaFast, yarn_beta_slow: usualBounds.betaSlow },
  };
  const unusual = Object.entries(usual).flatMap(([name, value]) => {
    const given = metadata.number(`rope.scaling.${name}`) ?? value;
    return given === value ? [] : [`${name} ${given}`];
  });
  if (unusual.length > 0)
    throw new TsumikiError(
      "CONFIG",
      `${source} scales its rotary positions by YaRN with ${unusual.join(", ")}, which is not known here.`,
    );
  return {
    ...{ rope_type: "yarn", factor: rounded(factor), original_max_position_embeddings: original },
    ...(near(attention, 1) ? {} : { attention_factor: attention * usualYarnAttention(factor) }),
  };
}

/** `rope_scaling` of a model whose frequencies are divided by these: the formula that they follow, where it is known, else they. */
function scalingOfFactors(factors: Float32Array, config: HuggingFaceConfig): HuggingFaceConfig | undefined {
  const factor = Math.max(...factors);
  const context = config.max_position_embeddings as number;
  if (factors.every((each) => near(each, factor)))
    return near(factor, 1) ? undefined : { rope_type: "linear", factor: rounded(factor) };
  const llama3 = llama3ScalingOf(factors, ropeThetaOf(config));
  if (llama3) return llama3;
  const divisors = Array.from(factors);
  return {
    ...{ rope_type: "longrope", factor: 1, attention_factor: 1, original_max_position_embeddings: context },
    ...{ short_factor: divisors, long_factor: divisors },
  };
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-5 * Math.abs(b);

/** A float32 as the short number that it was, where it was one. */
const rounded = (value: number): number => Number(value.toPrecision(6));

/**
 * Llama 3's formula from its results. Between a share of 0 for slow frequencies and 1 for fast ones, 1 / divisor goes along a
 * straight line. It fixes the original context only together with the two bounds; the lower one is 1 in all releases.
 */
function llama3ScalingOf(factors: Float32Array, theta: number): HuggingFaceConfig | undefined {
  const dim = 2 * factors.length;
  const frequencies = rotaryFrequencies(dim, theta);
  const factor = rounded(Math.max(...factors));
  const between = [...factors.keys()].filter((i) => !near(factors[i] as number, 1) && !near(factors[i] as number, factor));
  const [first, last] = [between[0], between.at(-1)];
  if (first === undefined || last === undefined || first === last) return undefined;
  const kept = (i: number) => (1 / (factors[i] as number) - 1 / factor) / (1 - 1 / factor);
  const [fast, slow] = [frequencies[first] as number, frequencies[last] as number];
  const slope = (kept(first) - kept(last)) / (fast - slow); // (original / 2π) / (high − low)
  const width = 1 / (slope * fast - kept(first)); // (high − low) / low
  const highFreqFactor = Number((1 + width).toPrecision(4));
  const originalMaxPositionEmbeddings = Math.round(2 * Math.PI * slope * width);
  const scaling: RopeScaling = { ropeType: "llama3", factor, lowFreqFactor: 1, highFreqFactor, originalMaxPositionEmbeddings };
  const again = stretchedRotation(dim, theta, scaling).frequencies;
  if (!factors.every((each, i) => near(each, (frequencies[i] as number) / (again[i] as number)))) return undefined;
  return {
    ...{ rope_type: "llama3", factor, low_freq_factor: 1, high_freq_factor: highFreqFactor },
    original_max_position_embeddings: originalMaxPositionEmbeddings,
  };
}
