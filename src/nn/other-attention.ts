/** Attention that is not a scaled dot product: additive, linear. */

import { mulDims } from "../graph/dim.js";
import { elu } from "../graph/ops/activation.js";
import { add, div, mul, tanh } from "../graph/ops/arithmetic.js";
import { cumulativeSum } from "../graph/ops/cumulative.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape, squeeze, unsqueeze } from "../graph/ops/shape.js";
import { softmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { uniform } from "./initializers.js";
import { Linear } from "./linear.js";
import { Module } from "./module.js";

/** Scores v·tanh(W·query + U·key) in place of a product (Bahdanau et al. 2015): the first attention there was. */
export class AdditiveAttention extends Module {
  readonly queryProj: Linear;
  readonly keyProj: Linear;
  readonly score: Parameter;

  constructor(querySize: number, keySize: number, hiddenSize: number) {
    super();
    this.queryProj = new Linear(querySize, hiddenSize, { bias: false });
    this.keyProj = new Linear(keySize, hiddenSize);
    this.score = new Parameter([hiddenSize], { initializer: uniform(1 / Math.sqrt(hiddenSize)) });
  }

  /**
   * @param queries [batch, seq, querySize]
   * @param keys [batch, keys, keySize], the values as well
   * @param real bool [batch, keys]: which keys are not padding
   * @returns [batch, seq, keySize]
   */
  forward(queries: Tensor, keys: Tensor, real?: Tensor): Tensor {
    const fromQueries = unsqueeze(this.queryProj.forward(queries), 2); // [batch, seq, 1, hidden]
    const fromKeys = unsqueeze(this.keyProj.forward(keys), 1); // [batch, 1, keys, hidden]
    const bent = tanh(add(fromQueries, fromKeys));
    const scores = squeeze(matmul(bent, reshape(this.score, [this.score.size(0), 1])), -1); // [batch, seq, keys]
    return matmul(softmax(real ? where(unsqueeze(real, 1), scores, -1e9) : scores), keys);
  }
}

/**
 * φ(q)·Σ φ(k)ᵀ·v / φ(q)·Σ φ(k) with φ(x) = elu(x) + 1, over the keys up to the query (Katharopoulos et al. 2020, "Transformers are
 * RNNs"): its cost grows with the length and not with its square, and its state is one matrix a head.
 *
 * @param q [batch, heads, seq, headDim]
 * @param k [batch, heads, seq, headDim]
 * @param v [batch, heads, seq, valueDim]
 * @returns [batch, heads, seq, valueDim]
 */
export function linearAttention(q: Tensor, k: Tensor, v: Tensor): Tensor {
  const positive = (x: Tensor) => add(elu(x), 1);
  const [queries, keys] = [positive(q), positive(k)];
  const products = mul(unsqueeze(keys, -1), unsqueeze(v, -2)); // [batch, heads, seq, headDim, valueDim]
  const [batch, heads, seq, headDim, valueDim] = products.shape;
  const flat = [mulDims(batch ?? 1, heads ?? 1), seq ?? 1, mulDims(headDim ?? 1, valueDim ?? 1)];
  const state = reshape(cumulativeSum(reshape(products, flat), 1), products.shape);
  const mixed = squeeze(matmul(unsqueeze(queries, -2), state), -2);
  const total = sum(mul(queries, cumulativeSum(keys, 2)), { axes: [3], keepDims: true });
  return div(mixed, total);
}
