/** Scaled rotary positions in GGUF: a table of what each frequency is divided by. */

import { TsumikiError } from "../errors.js";
import type { HuggingFaceConfig } from "../models/architectures.js";
import { type RopeScaling, rotaryFrequencies, stretchedRotation } from "../nn/rope-scaling.js";

export const factorsName = "rope_freqs.weight";

export const ropeThetaOf = (config: HuggingFaceConfig): number =>
  ((config.rope_parameters as { rope_theta?: number } | undefined)?.rope_theta ?? config.rope_theta ?? 10_000) as number;

const headDimOf = (config: HuggingFaceConfig): number =>
  (config.head_dim ?? (config.hidden_size as number) / (config.num_attention_heads as number)) as number;

const camelCase = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * By how much each rotary frequency is divided; undefined where none is.
 *
 * @throws TsumikiError CONFIG for a scaling that llama.cpp has no place for
 */
export function frequencyFactors(config: HuggingFaceConfig, architecture: string): Float32Array | undefined {
  const given = config.rope_scaling ?? config.rope_parameters;
  if (typeof given !== "object" || given === null) return undefined;
  const scaling = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [camelCase(key), value]),
  ) as unknown as RopeScaling;
  if (scaling.ropeType === "default") return undefined;
  if (architecture !== "llama" || (scaling.ropeType !== "linear" && scaling.ropeType !== "llama3" && !isOneTable(scaling)))
    throw new TsumikiError(
      "CONFIG",
      `Rotary positions scaled as ${scaling.ropeType} cannot be written as GGUF for ${architecture} here.`,
    );
  const theta = ropeThetaOf(config);
  const { frequencies } = stretchedRotation(headDimOf(config), theta, scaling);
  return Float32Array.from(rotaryFrequencies(headDimOf(config), theta), (plain, i) => plain / (frequencies[i] as number));
}

/** The same divisors for short and long texts, as a file with a table becomes below. */
const isOneTable = (scaling: RopeScaling): boolean =>
  scaling.ropeType === "longrope" &&
  scaling.attentionFactor === 1 &&
  scaling.shortFactor.every((factor, i) => factor === scaling.longFactor[i]);

/** `rope_scaling` of a model whose frequencies are divided by these: the formula that they follow, where it is known, else they. */
export function scalingOfFactors(factors: Float32Array, config: HuggingFaceConfig): HuggingFaceConfig {
  const factor = Math.max(...factors);
  const context = config.max_position_embeddings as number;
  if (factors.every((each) => near(each, factor)))
    return near(factor, 1) ? { rope_type: "default" } : { rope_type: "linear", factor: rounded(factor) };
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
