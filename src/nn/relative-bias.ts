/** Relative positions as learned biases of scores (Raffel et al. 2020, "T5", section 2.1). */

import { type Dim, subDims } from "../graph/dim.js";
import { abs, add, log, maximum, minimum, mul, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { greater, less } from "../graph/ops/compare.js";
import { gather } from "../graph/ops/indexing.js";
import { range } from "../graph/ops/range.js";
import { where } from "../graph/ops/select.js";
import { reshape, transpose } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { normal } from "./initializers.js";
import { Module } from "./module.js";

export interface RelativeBiasOptions {
  /** Default 32. */
  readonly buckets?: number;
  /** From this distance on all share a bucket. Default 128. */
  readonly maxDistance?: number;
  /** Whether keys after the query have buckets of their own (encoders), or share that of distance 0 (decoders). Default true. */
  readonly bidirectional?: boolean;
}

/** A bias for each head and bucket of distances: near distances have one each, far ones share them, ever more. */
export class RelativeBias extends Module {
  /** [buckets, heads] */
  readonly weight: Parameter;
  readonly #options: Required<RelativeBiasOptions>;

  constructor(heads: number, { buckets = 32, maxDistance = 128, bidirectional = true }: RelativeBiasOptions = {}) {
    super();
    this.weight = new Parameter([buckets, heads], { initializer: normal(0.02) });
    this.#options = { buckets, maxDistance, bidirectional };
  }

  /** Biases of `queries`, the last of `keys`, as `attend` takes them: [heads, queries, keys] */
  forward(queries: Dim, keys: Dim): Tensor {
    const queryPlaces = reshape(range(queries, "int32", subDims(keys, queries)), [queries, 1]);
    const distance = sub(range(keys, "int32"), queryPlaces); // [queries, keys], negative before the query
    return transpose(gather(this.weight, this.#bucket(distance)), [2, 0, 1]);
  }

  #bucket(distance: Tensor): Tensor {
    const { buckets, maxDistance, bidirectional } = this.#options;
    const perSide = bidirectional ? buckets / 2 : buckets;
    const side = bidirectional ? mul(cast(greater(distance, 0), "int32"), perSide) : undefined;
    const away = bidirectional ? abs(distance) : sub(0, minimum(distance, 0));
    const exact = Math.floor(perSide / 2);
    const ratio = mul(log(maximum(cast(away, "float32"), 1)), 1 / Math.log(maxDistance / exact));
    const logarithmic = sub(ratio, Math.log(exact) / Math.log(maxDistance / exact));
    // A hair more, so that distances at the edge of a bucket fall on the side that exact arithmetic puts them.
    const far = add(cast(mul(add(logarithmic, 1e-6), perSide - exact), "int32"), exact);
    const bucket = where(less(away, exact), away, minimum(far, perSide - 1));
    return side ? add(side, bucket) : bucket;
  }
}
