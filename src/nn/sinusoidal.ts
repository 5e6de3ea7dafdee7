/** Positions as sines and cosines (Vaswani et al. 2017, section 3.5). */

import { constant } from "../graph/leaves.js";
import { cos, mul, sin } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { flatten, unsqueeze } from "../graph/ops/shape.js";
import { stack } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { rotaryFrequencies } from "./rope-scaling.js";

/** sin and cos of position / 10,000^(2i/dim) at 2i and 2i + 1. positions [...] → [..., dim], dim even */
export function sinusoidalPositions(positions: Tensor, dim: number, theta = 10_000): Tensor {
  const angles = mul(unsqueeze(cast(positions, "float32"), -1), constant(rotaryFrequencies(dim, theta)));
  return flatten(stack([sin(angles), cos(angles)], -1), -2);
}
