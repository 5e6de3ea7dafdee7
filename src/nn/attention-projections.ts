/** The maps around attention: queries, keys and values, each of its own, and the one back. */

import { ArgumentError } from "../errors.js";
import type { Tensor } from "../graph/tensor.js";
import { type AttendOptions, attend, splitHeads } from "./attention.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Rotary } from "./rotary.js";

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

/** Keys [batch, kvHeads, keys, headDim] and values [batch, kvHeads, keys, valueDim] of one layer. */
export interface KeysAndValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface AttentionProjectionsOptions extends Pick<AttendOptions, "scale" | "softCap" | "slopes" | "dropout"> {
  readonly hiddenSize: number;
  readonly headDim: number;
  /** Width of a head's values. Default: headDim. */
  readonly valueDim?: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values: as many (multi-head), fewer (grouped-query) or one (multi-query). */
  readonly kvHeads: number;
  /** Width of what keys and values are made of, where that is another sequence. Default: hiddenSize. */
  readonly memorySize?: number;
  /** Biases of the maps to queries, keys and values, and of the one back. Default: none. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly norm?: QueryKeyNorm | undefined;
  readonly initializer?: LinearOptions["initializer"];
  /** Initial values of the projection back into the residual stream. Default: the same as of the others. */
  readonly outputInitializer?: LinearOptions["initializer"];
}

/** What attention over the same sequence and over another one have in common. */
export abstract class AttentionProjections extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
  readonly qNorm: Normalization | undefined;
  readonly kNorm: Normalization | undefined;
  readonly #options: AttentionProjectionsOptions;

  constructor(options: AttentionProjectionsOptions) {
    super();
    const { hiddenSize, headDim, heads, kvHeads, bias = false, outputBias = false, norm, initializer } = options;
    const { valueDim = headDim, memorySize = hiddenSize } = options;
    if (heads % kvHeads !== 0) throw new ArgumentError(`${heads} query heads cannot share ${kvHeads} key heads evenly.`);
    const linear: LinearOptions = { bias, ...(initializer ? { initializer } : {}) };
    const outputInitializer = options.outputInitializer ?? initializer;
    this.qProj = new Linear(hiddenSize, heads * headDim, linear);
    this.kProj = new Linear(memorySize, kvHeads * headDim, linear);
    this.vProj = new Linear(memorySize, kvHeads * valueDim, linear);
    this.oProj = new Linear(heads * valueDim, hiddenSize, {
      bias: outputBias,
      ...(outputInitializer ? { initializer: outputInitializer } : {}),
    });
    this.qNorm = norm?.query;
    this.kNorm = norm?.key;
    this.#options = options;
  }

  /** x [batch, seq, hidden] → [batch, heads, seq, headDim] */
  protected queries(x: Tensor, rotary?: Rotary): Tensor {
    return this.#place(this.qProj.forward(x), this.qNorm, rotary);
  }

  /** The keys and values of x [batch, keys, hidden or memorySize] */
  protected keysAndValues(x: Tensor, rotary?: Rotary): KeysAndValues {
    const { headDim, valueDim = headDim } = this.#options;
    const keys = this.#place(this.kProj.forward(x), this.kNorm, rotary);
    return { keys, values: splitHeads(this.vProj.forward(x), valueDim) };
  }

  /** `attend` with the options of the module: [batch, heads, seq, valueDim] */
  protected attended(q: Tensor, keys: Tensor, values: Tensor, inputs: Pick<AttendOptions, "mask" | "bias" | "cache">): Tensor {
    const { scale, softCap, slopes, dropout } = this.#options;
    const own = { softCap, slopes, ...(scale === undefined ? {} : { scale }), ...(dropout === undefined ? {} : { dropout }) };
    return attend(q, keys, values, { ...inputs, ...own });
  }

  /** Heads, normalized and turned by their positions. x [batch, seq, heads · headDim] → [batch, heads, seq, headDim] */
  #place(x: Tensor, norm: Normalization | undefined, rotary: Rotary | undefined): Tensor {
    const { headDim } = this.#options;
    const perHead = this.#options.norm?.over !== "projection";
    const heads = splitHeads(norm && !perHead ? norm.forward(x) : x, headDim);
    const normalized = norm && perHead ? norm.forward(heads) : heads;
    return rotary ? rotary.apply(normalized) : normalized;
  }
}
