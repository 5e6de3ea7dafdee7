/** Rotary frequencies, and the ways to stretch them to contexts longer than a model was trained on. */

import { ArgumentError, TsumikiError } from "../errors.js";

/** How rotary frequencies are stretched; names as in `rope_scaling` of Hugging Face's `config.json`. */
export type RopeScaling =
  | { readonly ropeType: "default" }
  /** All frequencies divided by the factor (Chen et al. 2023, "Extending context window via positional interpolation"). */
  | { readonly ropeType: "linear"; readonly factor: number }
  /** The base grows with the length at hand once that passes the original context ("dynamic NTK", bloc97 and emozilla 2023). */
  | { readonly ropeType: "dynamic"; readonly factor: number }
  | YarnScaling
  | LongRopeScaling
  | Llama3Scaling;

/** Peng et al. 2023, "YaRN", section 3: interpolation for slow frequencies, none for fast ones, and sharper attention. */
export interface YarnScaling {
  readonly ropeType: "yarn";
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** Rotations over the original context above which a frequency stays (default 32), and below which it is divided (default 1). */
  readonly betaFast?: number | undefined;
  readonly betaSlow?: number | undefined;
  /** Factor on queries and keys. Default 0.1·ln(factor) + 1, or the quotient of that with `mscale` and with `mscaleAllDim`. */
  readonly attentionFactor?: number | undefined;
  readonly mscale?: number | undefined;
  readonly mscaleAllDim?: number | undefined;
  /** Whether the bounds between the three ranges are rounded to whole pairs. Default true. */
  readonly truncate?: boolean | undefined;
}

/**
 * Ding et al. 2024, "LongRoPE": a divisor for each pair, found by search; one set for texts within the original context, one for
 * longer ones.
 */
export interface LongRopeScaling {
  readonly ropeType: "longrope";
  /** How many times the original context the model reaches. */
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** What the frequency of each pair is divided by, in texts up to the original context and in longer ones. */
  readonly shortFactor: readonly number[];
  readonly longFactor: readonly number[];
  /** Factor on queries and keys. Default √(1 + ln(factor) / ln(original context)). */
  readonly attentionFactor?: number | undefined;
}

/** Grattafiori et al. 2024, "The Llama 3 herd of models", as released with 3.1: by wavelength, with a smooth passage between. */
export interface Llama3Scaling {
  readonly ropeType: "llama3";
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

export const ropeTypes = [
  "default",
  "linear",
  "dynamic",
  "yarn",
  "longrope",
  "llama3",
] as const satisfies readonly RopeScaling["ropeType"][];

/** θ^(−2i/dim) for each pair i: radians a position (Su et al. 2021, equation 15). */
export const rotaryFrequencies = (dim: number, theta: number): number[] =>
  Array.from({ length: Math.floor(dim / 2) }, (_, i) => theta ** ((-2 * i) / dim));

export interface StretchedRotation {
  /** Radians a position, for each pair. */
  readonly frequencies: readonly number[];
  /** Other frequencies for texts that are longer than `length`. */
  readonly beyond?: { readonly length: number; readonly frequencies: readonly number[] };
  /** Factor on rotated queries and keys. */
  readonly attentionFactor: number;
}

/** The frequencies of `dim` features under a scaling. The dynamic one, whose base depends on the length at hand, begins as none. */
export function stretchedRotation(dim: number, theta: number, scaling: RopeScaling): StretchedRotation {
  const frequencies = rotaryFrequencies(dim, theta);
  switch (scaling.ropeType) {
    case "default":
    case "dynamic":
      return { frequencies, attentionFactor: 1 };
    case "linear":
      return { frequencies: frequencies.map((frequency) => frequency / scaling.factor), attentionFactor: 1 };
    case "yarn":
      return yarn(dim, theta, frequencies, scaling);
    case "longrope":
      return longRope(frequencies, scaling);
    case "llama3":
      return { frequencies: frequencies.map((frequency) => llama3(frequency, scaling)), attentionFactor: 1 };
    default:
      throw new TsumikiError(
        "ARGUMENT",
        `There is no rotary scaling "${(scaling as { ropeType: string }).ropeType}"; known are ${ropeTypes.join(", ")}.`,
      );
  }
}

function yarn(dim: number, theta: number, frequencies: readonly number[], scaling: YarnScaling): StretchedRotation {
  const { factor, originalMaxPositionEmbeddings: original, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  /** The pair, as a real number, that turns this often over the original context. */
  const pairOf = (rotations: number) => (dim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = (value: number, how: (value: number) => number) => (truncate ? how(value) : value);
  const low = Math.max(round(pairOf(betaFast), Math.floor), 0);
  const high = Math.min(round(pairOf(betaSlow), Math.ceil), dim - 1);
  const width = low === high ? 0.001 : high - low;
  return {
    frequencies: frequencies.map((frequency, i) => {
      const interpolated = Math.min(1, Math.max(0, (i - low) / width));
      return frequency * (1 - interpolated + interpolated / factor);
    }),
    attentionFactor: scaling.attentionFactor ?? yarnAttentionFactor(scaling),
  };
}

function yarnAttentionFactor({ factor, mscale, mscaleAllDim }: YarnScaling): number {
  const sharpening = (m: number) => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? sharpening(mscale) / sharpening(mscaleAllDim) : sharpening(1);
}

function longRope(frequencies: readonly number[], scaling: LongRopeScaling): StretchedRotation {
  const { factor, originalMaxPositionEmbeddings: length, shortFactor, longFactor } = scaling;
  const divided = (by: readonly number[], name: string) => {
    if (by.length !== frequencies.length)
      throw new ArgumentError(
        `LongRoPE: ${name} has ${by.length} values, but ${frequencies.length} pairs of features are turned.`,
      );
    return frequencies.map((frequency, i) => frequency / (by[i] as number));
  };
  return {
    frequencies: divided(shortFactor, "shortFactor"),
    beyond: { length, frequencies: divided(longFactor, "longFactor") },
    attentionFactor: scaling.attentionFactor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(length))),
  };
}

function llama3(frequency: number, scaling: Llama3Scaling): number {
  const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositionEmbeddings: original } = scaling;
  const rotations = (original * frequency) / (2 * Math.PI);
  const kept = Math.min(1, Math.max(0, (rotations - low) / (high - low)));
  return frequency * (kept + (1 - kept) / factor);
}
