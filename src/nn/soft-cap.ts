/** Values bent so that they stay within bounds (Bello et al. 2017; Gemma 2, section 2). */

import { div, mul, tanh } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";

/** cap · tanh(x / cap): nearly x where it is small, never beyond ±cap. */
export const softCapped = (x: Tensor, cap: number): Tensor => mul(tanh(div(x, cap)), cap);
