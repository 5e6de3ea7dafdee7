/** Self-attention whose queries, keys and values come from one map, each head's three side by side (Megatron's layout). */

import { ArgumentError } from "../errors.js";
import type { Dim } from "../graph/dim.js";
import { reshape, squeeze, transpose } from "../graph/ops/shape.js";
import { split } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { attend, mergeHeads } from "./attention.js";
import type { AttentionInputs } from "./grouped-query-attention.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";

export interface FusedAttentionOptions extends LinearOptions {
  readonly hiddenSize: number;
  readonly heads: number;
  /** What each head subtracts from its scores for each position of distance (ALiBi). Default: nothing. */
  readonly slopes?: readonly number[];
  /** Share of attention weights that are dropped in training. Default 0. */
  readonly dropout?: number;
}

/** Multi-head attention as in GPT-NeoX and BLOOM. */
export class FusedAttention extends Module {
  readonly queryKeyValue: Linear;
  readonly dense: Linear;
  readonly #options: FusedAttentionOptions;

  constructor(options: FusedAttentionOptions) {
    super();
    const { hiddenSize, heads } = options;
    if (hiddenSize % heads !== 0) throw new ArgumentError(`A width of ${hiddenSize} cannot be shared by ${heads} heads evenly.`);
    this.queryKeyValue = new Linear(hiddenSize, 3 * hiddenSize, options);
    this.dense = new Linear(hiddenSize, hiddenSize, options);
    this.#options = options;
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, { mask, rotary, cache }: AttentionInputs): Tensor {
    const { hiddenSize, heads, slopes, dropout = 0 } = this.#options;
    const [batch, seq] = x.shape as readonly [Dim, Dim, Dim];
    const fused = reshape(this.queryKeyValue.forward(x), [batch, seq, heads, 3, hiddenSize / heads]);
    const parts = split(transpose(fused, [3, 0, 2, 1, 4]), 3, 0).map((part) => squeeze(part, 0));
    const [q, k, v] = parts as unknown as readonly [Tensor, Tensor, Tensor]; // [batch, heads, seq, headDim]
    const turned = (y: Tensor) => (rotary ? rotary.apply(y) : y);
    const mixed = attend(turned(q), turned(k), v, { mask, cache, dropout, ...(slopes ? { slopes } : {}) });
    return this.dense.forward(mergeHeads(mixed));
  }
}
