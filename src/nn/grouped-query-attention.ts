/** Self-attention with maps of its own for queries, keys and values: multi-head, grouped-query and multi-query. */

import type { Tensor } from "../graph/tensor.js";
import { type LayerCache, type Mask, mergeHeads } from "./attention.js";
import { AttentionProjections, type AttentionProjectionsOptions } from "./attention-projections.js";
import type { Rotary } from "./rotary.js";

export type { Normalization, QueryKeyNorm } from "./attention-projections.js";

/** What all layers of a call share, and the layer's own cache. */
export interface AttentionInputs {
  /** Default: everything is visible. */
  readonly mask?: Mask | undefined;
  /** Added to the scores; see `attend`. Default: nothing. */
  readonly bias?: Tensor | undefined;
  /** Turns queries and keys by their positions; none for layers without positions (NoPE). */
  readonly rotary?: Rotary | undefined;
  readonly cache?: LayerCache | undefined;
}

export type GroupedQueryAttentionOptions = AttentionProjectionsOptions;

/** Grouped-query attention (Ainslie et al. 2023), in one direction or both, with the positions that the caller gives. */
export class GroupedQueryAttention extends AttentionProjections {
  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, { mask, bias, rotary, cache }: AttentionInputs = {}): Tensor {
    const q = this.queries(x, rotary);
    const { keys, values } = this.keysAndValues(x, rotary);
    return this.oProj.forward(mergeHeads(this.attended(q, keys, values, { mask, bias, cache })));
  }
}
