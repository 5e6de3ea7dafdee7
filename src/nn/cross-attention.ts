/** Attention over another sequence: a decoder that looks at an encoder, a latent that looks at pixels. */

import { Tensor } from "../graph/tensor.js";
import { type AttendOptions, mergeHeads } from "./attention.js";
import { AttentionProjections, type AttentionProjectionsOptions, type KeysAndValues } from "./attention-projections.js";

/** `hiddenSize` and `heads`, and what else `GroupedQueryAttention` takes. */
export interface CrossAttentionOptions
  extends Omit<AttentionProjectionsOptions, "headDim" | "kvHeads">,
    Partial<Pick<AttentionProjectionsOptions, "headDim" | "kvHeads">> {
  /** Of all four maps, unless `outputBias` says something else of the last one. Default true. */
  readonly bias?: boolean;
}

/**
 * Queries of one sequence, keys and values of another (Vaswani et al. 2017, section 3.2.3).
 *
 * Keys and values of a memory that stays the same are computed once: one program returns what `remember` gives, and all later ones
 * are fed with it in place of the memory.
 */
export class CrossAttention extends AttentionProjections {
  constructor({ bias = true, ...options }: CrossAttentionOptions) {
    const { hiddenSize, heads, headDim = hiddenSize / heads, kvHeads = heads, outputBias = bias } = options;
    super({ ...options, headDim, kvHeads, bias, outputBias });
  }

  /** The keys and values of memory [batch, keys, memorySize], to be given to `forward` again and again. */
  remember(memory: Tensor): KeysAndValues {
    return this.within(() => this.keysAndValues(memory));
  }

  /**
   * x [batch, seq, hidden] → [batch, seq, hidden]
   *
   * @param memory [batch, keys, memorySize], or what `remember` made of it
   */
  forward(x: Tensor, memory: Tensor | KeysAndValues, inputs: Pick<AttendOptions, "mask" | "bias"> = {}): Tensor {
    const { keys, values } = memory instanceof Tensor ? this.keysAndValues(memory) : memory;
    return this.oProj.forward(mergeHeads(this.attended(this.queries(x), keys, values, inputs)));
  }
}
