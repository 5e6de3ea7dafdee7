/** Rotary positions (Su et al. 2021, "RoFormer", section 3.4.2). */

import { ArgumentError } from "../errors.js";
import type { Dim } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, cos, exp, log, maximum, mul, neg, sin, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { greater } from "../graph/ops/compare.js";
import { max } from "../graph/ops/reduce.js";
import { rope } from "../graph/ops/rope.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, split } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { type RopeScaling, type StretchedRotation, stretchedRotation } from "./rope-scaling.js";

export interface RotaryOptions {
  readonly headDim: number;
  /** Base of the geometric series of wavelengths. Default 10,000. */
  readonly theta?: number;
  /** How many features of a head are rotated, the first ones; the others carry no position. Default: all. */
  readonly rotaryDim?: number;
  /** Which features form a pair: i and i + rotaryDim/2 (default; Hugging Face's convention), or 2i and 2i + 1 (the paper's). */
  readonly interleaved?: boolean;
  /** Stretches the wavelengths for contexts longer than the original. Default: none. */
  readonly scaling?: RopeScaling | undefined;
  /** The original context, where scaling begins; the dynamic one needs it. */
  readonly maxPositionEmbeddings?: number;
}

/** The rotation of one call: its angles are computed once and shared by all layers. */
export class Rotary {
  readonly #cos: Tensor; // [seq, rotaryDim / 2], or [batch, 1, seq, rotaryDim / 2]
  readonly #sin: Tensor;
  readonly #rotaryDim: number;
  readonly #interleaved: boolean;

  /** @param positions whole numbers: [seq], or [batch, seq] where rows have positions of their own */
  constructor(positions: Tensor, options: RotaryOptions) {
    const { headDim, theta = 10_000, rotaryDim = headDim, interleaved = false, scaling = { ropeType: "default" } } = options;
    if (!Number.isInteger(rotaryDim) || rotaryDim % 2 !== 0 || rotaryDim > headDim)
      throw new ArgumentError(`Rotary positions turn pairs: ${rotaryDim} of ${headDim} features cannot be rotated.`);
    this.#rotaryDim = rotaryDim;
    this.#interleaved = interleaved;
    const rotation = stretchedRotation(rotaryDim, theta, scaling);
    const column = positions.rank === 1 ? [-1, 1] : [positions.size(0), 1, positions.size(1), 1];
    const places = cast(positions, "float32");
    const frequencies =
      scaling.ropeType === "dynamic"
        ? dynamicFrequencies(places, scaling.factor, theta, options)
        : frequenciesAt(places, rotation);
    const angles = mul(reshape(places, column), frequencies);
    const stretched = (x: Tensor) => (rotation.attentionFactor === 1 ? x : mul(x, rotation.attentionFactor));
    this.#cos = stretched(cos(angles));
    this.#sin = stretched(sin(angles));
  }

  /** Rotates each pair by its angle. x [batch, heads, seq, headDim] → the same shape */
  apply(x: Tensor): Tensor {
    const interleaved = this.#interleaved;
    const rest = (x.size(-1) as number) - this.#rotaryDim;
    if (rest === 0) return rope(x, this.#cos, this.#sin, { interleaved });
    const [turned, still] = split(x, [this.#rotaryDim, rest] as readonly Dim[], 3) as [Tensor, Tensor];
    return concat([rope(turned, this.#cos, this.#sin, { interleaved }), still], 3);
  }
}

/** How many positions there are up to the largest at hand. */
const lengthAtHand = (places: Tensor): Tensor => add(max(places), 1);

/** Keys that are already in a cache keep the rotation they had, also when a text outgrows its first frequencies. */
function frequenciesAt(places: Tensor, { frequencies, beyond }: StretchedRotation): Tensor {
  const within = constant(frequencies);
  return beyond ? where(greater(lengthAtHand(places), beyond.length), constant(beyond.frequencies), within) : within;
}

/**
 * Frequencies whose base is θ · (factor·length/original − (factor − 1))^(dim/(dim−2)), where `length` reaches to the largest
 * position at hand and counts as the original context at least. Keys that are already in a cache keep the rotation they had.
 */
function dynamicFrequencies(places: Tensor, factor: number, theta: number, options: RotaryOptions): Tensor {
  const { headDim, rotaryDim: dim = headDim, maxPositionEmbeddings: original } = options;
  if (original === undefined) throw new ArgumentError("Dynamic rotary scaling needs maxPositionEmbeddings: where it begins.");
  const length = maximum(lengthAtHand(places), original);
  const stretch = sub(mul(length, factor / original), factor - 1);
  const logBase = add(mul(log(stretch), dim / (dim - 2)), Math.log(theta));
  const exponents = constant(Array.from({ length: dim / 2 }, (_, i) => (2 * i) / dim)); // [dim / 2]
  return exp(neg(mul(exponents, logBase)));
}
