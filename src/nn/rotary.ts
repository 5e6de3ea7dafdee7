/** Rotary positions (Su et al. 2021, "RoFormer", section 3.4.2). */

import { constant } from "../graph/leaves.js";
import { cos, mul, sin } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { rope } from "../graph/ops/rope.js";
import { reshape } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";

export interface RotaryOptions {
  readonly headDim: number;
  /** Base of the geometric series of wavelengths. Default 10,000. */
  readonly theta?: number;
}

/** The rotation of one call: its angles are computed once and shared by all layers. */
export class Rotary {
  readonly #cos: Tensor; // [seq, headDim / 2], or [batch, 1, seq, headDim / 2]
  readonly #sin: Tensor;

  /** @param positions whole numbers: [seq], or [batch, seq] where rows have positions of their own */
  constructor(positions: Tensor, { headDim, theta = 10_000 }: RotaryOptions) {
    const frequencies = constant(Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim)));
    const column = positions.rank === 1 ? [-1, 1] : [positions.size(0), 1, positions.size(1), 1];
    const angles = mul(reshape(cast(positions, "float32"), column), frequencies);
    this.#cos = cos(angles);
    this.#sin = sin(angles);
  }

  /** Rotates each pair (i, i + headDim/2) by its angle. x [batch, heads, seq, headDim] → the same shape */
  apply(x: Tensor): Tensor {
    return rope(x, this.#cos, this.#sin);
  }
}
