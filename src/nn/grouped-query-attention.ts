/** Self-attention with maps of its own for queries, keys and values: multi-head, grouped-query and multi-query. */

import { ArgumentError } from "../errors.js";
import type { Tensor } from "../graph/tensor.js";
import { type AttendOptions, attend, type LayerCache, type Mask, mergeHeads, splitHeads } from "./attention.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Rotary } from "./rotary.js";

/** What all layers of a call share, and the layer's own cache. */
export interface AttentionInputs {
  readonly mask: Mask;
  /** Turns queries and keys by their positions; none for layers without positions (NoPE). */
  readonly rotary?: Rotary | undefined;
  readonly cache?: LayerCache | undefined;
}

/** A module that normalizes the last axis. */
export interface Normalization extends Module {
  forward(x: Tensor): Tensor;
}

/** Queries and keys are normalized before their product, so that it cannot grow (Henry et al. 2020, "QKNorm"). */
export interface QueryKeyNorm {
  readonly query: Normalization;
  readonly key: Normalization;
  /** Each head by itself, [batch, heads, seq, headDim], or the whole projection, [batch, seq, heads · headDim]. */
  readonly over: "heads" | "projection";
}

export interface GroupedQueryAttentionOptions extends Pick<AttendOptions, "scale" | "softCap" | "dropout"> {
  readonly hiddenSize: number;
  readonly headDim: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values: as many (multi-head), fewer (grouped-query) or one (multi-query). */
  readonly kvHeads: number;
  /** Biases of the maps to queries, keys and values, and of the one back. Default: none. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly norm?: QueryKeyNorm | undefined;
  readonly initializer?: LinearOptions["initializer"];
  /** Initial values of the projection back into the residual stream. Default: the same as of the others. */
  readonly outputInitializer?: LinearOptions["initializer"];
}

/** Grouped-query attention (Ainslie et al. 2023), with the positions that the caller gives. */
export class GroupedQueryAttention extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
  readonly qNorm: Normalization | undefined;
  readonly kNorm: Normalization | undefined;
  readonly #normOver: QueryKeyNorm["over"];
  readonly #headDim: number;
  readonly #attend: Pick<AttendOptions, "scale" | "softCap" | "dropout">;

  constructor(options: GroupedQueryAttentionOptions) {
    super();
    const { hiddenSize, headDim, heads, kvHeads, bias = false, outputBias = false, norm, initializer } = options;
    if (heads % kvHeads !== 0) throw new ArgumentError(`${heads} query heads cannot share ${kvHeads} key heads evenly.`);
    const linear: LinearOptions = { bias, ...(initializer ? { initializer } : {}) };
    const outputInitializer = options.outputInitializer ?? initializer;
    this.qProj = new Linear(hiddenSize, heads * headDim, linear);
    this.kProj = new Linear(hiddenSize, kvHeads * headDim, linear);
    this.vProj = new Linear(hiddenSize, kvHeads * headDim, linear);
    this.oProj = new Linear(heads * headDim, hiddenSize, {
      bias: outputBias,
      ...(outputInitializer ? { initializer: outputInitializer } : {}),
    });
    this.qNorm = norm?.query;
    this.kNorm = norm?.key;
    this.#normOver = norm?.over ?? "heads";
    this.#headDim = headDim;
    this.#attend = {
      ...(options.scale === undefined ? {} : { scale: options.scale }),
      ...(options.softCap === undefined ? {} : { softCap: options.softCap }),
      ...(options.dropout === undefined ? {} : { dropout: options.dropout }),
    };
  }

  /** x [batch, seq, hidden] → [batch, seq, hidden] */
  forward(x: Tensor, { mask, rotary, cache }: AttentionInputs): Tensor {
    const q = this.#place(this.qProj.forward(x), this.qNorm, rotary); // [batch, heads, seq, headDim]
    const k = this.#place(this.kProj.forward(x), this.kNorm, rotary); // [batch, kvHeads, seq, headDim]
    const v = splitHeads(this.vProj.forward(x), this.#headDim);
    return this.oProj.forward(mergeHeads(attend(q, k, v, { mask, cache, ...this.#attend })));
  }

  /** Heads, normalized and turned by their positions. x [batch, seq, heads · headDim] → [batch, heads, seq, headDim] */
  #place(x: Tensor, norm: Normalization | undefined, rotary: Rotary | undefined): Tensor {
    const perHead = this.#normOver === "heads";
    const heads = splitHeads(norm && !perHead ? norm.forward(x) : x, this.#headDim);
    const normalized = norm && perHead ? norm.forward(heads) : heads;
    return rotary ? rotary.apply(normalized) : normalized;
  }
}
