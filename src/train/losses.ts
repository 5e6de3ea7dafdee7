/** What a training step minimizes and reports. */

import type { Tensor } from "../graph/tensor.js";
import type { Signature } from "../program/signature.js";

/** The inputs of a signature while a step is traced. */
export type Traced<S extends Signature> = { readonly [K in keyof S]: undefined extends S[K] ? Tensor | undefined : Tensor };

export interface Losses {
  /** What is minimized: a mean over `weight` units, a scalar. */
  readonly loss: Tensor;
  /**
   * How many units (tokens, pairs, images) the mean is over, a scalar. Accumulated batches are weighted by it, and so is validation, so
   * that unequal batches count as they should; a batch in which nothing counts changes nothing.
   */
  readonly weight: Tensor;
  /** The loss without auxiliary losses, where there are any: what is reported as `loss`. */
  readonly reported?: Tensor;
  /** Further means by name: each reported as `sum / weight`. */
  readonly metrics?: Readonly<Record<string, { readonly sum: Tensor; readonly weight: Tensor }>>;
}
