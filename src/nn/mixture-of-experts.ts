/**
 * Mixture of experts: of many feed-forward blocks each token goes through a few (Shazeer et al. 2017, "Outrageously large neural
 * networks"; Jiang et al. 2024, "Mixtral of experts"). Only what was chosen is computed, and no token is dropped: each expert
 * gets as many rows as chose it, a size that is known when the program runs.
 */

import { ArgumentError } from "../errors.js";
import { customGradient } from "../graph/custom-gradient.js";
import { type Dim, mulDims } from "../graph/dim.js";
import type { DType } from "../graph/dtype.js";
import { constant } from "../graph/leaves.js";
import { add, div, maximum, mul } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { equal, greater } from "../graph/ops/compare.js";
import { cumulativeSum } from "../graph/ops/cumulative.js";
import { gather, takeAlong } from "../graph/ops/indexing.js";
import { matmul } from "../graph/ops/matmul.js";
import { nonZero } from "../graph/ops/nonzero.js";
import { mean, numberOfElements, sum } from "../graph/ops/reduce.js";
import { reshape, squeeze, unsqueeze } from "../graph/ops/shape.js";
import { concat } from "../graph/ops/shape-slice.js";
import { softmax } from "../graph/ops/softmax.js";
import { topK } from "../graph/ops/topk.js";
import type { Tensor } from "../graph/tensor.js";
import { named } from "../graph/trace.js";
import { type Activation, GatedFeedForward } from "./feed-forward.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";

export interface MixtureOfExpertsOptions extends Pick<LinearOptions, "initializer"> {
  readonly hiddenSize: number;
  /** Width of each expert. */
  readonly intermediateSize: number;
  readonly activation: Activation;
  readonly experts: number;
  /** How many experts a token goes through. */
  readonly expertsPerToken: number;
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly normalizeWeights: boolean;
  /** Experts that every token goes through besides (Dai et al. 2024, "DeepSeekMoE"). Default 0. */
  readonly sharedExperts?: number;
}

/** What a router said: kept by the caller for the loss that balances the experts. */
export interface Routing {
  /** softmax of the router's logits, [batch, seq, experts] */
  readonly probabilities: Tensor;
  /** The experts of each token, int64 [batch, seq, expertsPerToken] */
  readonly chosen: Tensor;
}

/** Gated experts behind a router. */
export class MixtureOfExperts extends Module {
  readonly gate: Linear;
  readonly experts: readonly GatedFeedForward[];
  readonly sharedExperts: readonly GatedFeedForward[];
  readonly #expertsPerToken: number;
  readonly #normalizeWeights: boolean;

  constructor(options: MixtureOfExpertsOptions) {
    super();
    const { hiddenSize, intermediateSize, activation, experts, expertsPerToken, sharedExperts = 0, initializer } = options;
    if (expertsPerToken < 1 || expertsPerToken > experts)
      throw new ArgumentError(`Of ${experts} experts, ${expertsPerToken} cannot be chosen for a token.`);
    const linear = initializer ? { initializer } : {};
    const expert = () => new GatedFeedForward(hiddenSize, intermediateSize, activation, linear);
    this.gate = new Linear(hiddenSize, experts, { ...linear, bias: false });
    this.experts = Array.from({ length: experts }, expert);
    this.sharedExperts = Array.from({ length: sharedExperts }, expert);
    this.#expertsPerToken = expertsPerToken;
    this.#normalizeWeights = options.normalizeWeights;
  }

  /**
   * x [batch, seq, hidden] → [batch, seq, hidden]
   *
   * @param routings where to leave what the router said
   */
  forward(x: Tensor, routings?: Routing[]): Tensor {
    const [batch, seq, hidden] = x.shape as unknown as readonly [Dim, Dim, number];
    const tokens = mulDims(batch, seq);
    const rows = reshape(x, [tokens, hidden]);
    const probabilities = named("routing", softmax(this.gate.forward(rows))); // [tokens, experts]
    const { values, indices } = topK(probabilities, this.#expertsPerToken); // [tokens, expertsPerToken] each
    const perToken = (y: Tensor) => reshape(y, [batch, seq, y.size(1)]);
    routings?.push({ probabilities: perToken(probabilities), chosen: perToken(indices) });
    const weights = this.#normalizeWeights ? div(values, sum(values, { axes: [1], keepDims: true })) : values;

    const { order, places } = groupByExpert(indices, this.experts.length);
    const inputs = dispatch(rows, order, places, this.#expertsPerToken);
    const outputs = inputs.map((input, e) => (this.experts[e] as GatedFeedForward).forward(input));
    const mixed = combine(outputs, order, places, weights); // [tokens, hidden]
    const routed = reshape(mixed, x.shape);
    return this.sharedExperts.reduce((y, expert) => add(y, expert.forward(x)), routed);
  }
}

interface Grouping {
  /** For each expert the choices that fell on it, int64 [count]: choice c is one of token ⌊c / expertsPerToken⌋. */
  readonly order: readonly Tensor[];
  /** Where each choice stands when all groups follow each other, int64 [tokens · expertsPerToken]: the inverse of `order`. */
  readonly places: Tensor;
}

/** Sorts choices by expert with a count for each: a token's place is the number of those before it. */
function groupByExpert(chosen: Tensor, experts: number): Grouping {
  const choices = mulDims(...chosen.shape);
  const flat = reshape(chosen, [choices]);
  const order = Array.from({ length: experts }, (_, e) => squeeze(nonZero(equal(flat, constant(e, "int64"))), 0));
  const isOf = cast(
    equal(
      reshape(flat, [choices, 1]),
      constant(
        Array.from({ length: experts }, (_, e) => e),
        "int64",
      ),
    ),
    "int32",
  );
  const rank = takeAlong(cumulativeSum(isOf, 0, { exclusive: true }), reshape(flat, [choices, 1]), 1); // [choices, 1]
  const counts = sum(isOf, { axes: [0] }); // [experts]
  const starts = cumulativeSum(counts, 0, { exclusive: true });
  return { order, places: cast(add(reshape(rank, [choices]), gather(starts, flat)), "int64") };
}

/**
 * The rows of each expert, [count, hidden]. Its gradient is the transpose, read and not scattered: each choice's gradient is
 * found at its place, and a token's choices stand side by side.
 */
function dispatch(rows: Tensor, order: readonly Tensor[], places: Tensor, perToken: number): readonly Tensor[] {
  const [tokens, hidden] = rows.shape as readonly [Dim, Dim];
  return customGradient(
    (x: Tensor) => order.map((choices) => gather(x, div(choices, constant(perToken, "int64")))),
    ({ gradients }) => [sum(reshape(gather(concat(gradients, 0), places), [tokens, perToken, hidden]), { axes: [1] })],
  )(rows);
}

/** Each token's sum of its experts' outputs by their weights: [tokens, hidden] */
function combine(outputs: readonly Tensor[], order: readonly Tensor[], places: Tensor, weights: Tensor): Tensor {
  const [tokens, perToken] = weights.shape as readonly [Dim, Dim];
  const hidden = (outputs[0] as Tensor).size(1);
  const [byChoice] = customGradient(
    (...parts: readonly Tensor[]) => [gather(concat(parts, 0), places)],
    ({ gradients: [dy] }) => order.map((choices) => gather(dy as Tensor, choices)),
  )(...outputs);
  const perChoice = reshape(byChoice as Tensor, [tokens, perToken, hidden]);
  return squeeze(matmul(reshape(weights, [tokens, 1, perToken]), perChoice), 1);
}

export interface LoadBalancingOptions {
  /** Which tokens count and are not padding, bool [batch, seq]. Default: all. */
  readonly real?: Tensor | undefined;
  /** Whether each text, a row of the batch, is balanced by itself, and the mean of them taken. Default: they count together. */
  readonly perText?: boolean;
}

/**
 * experts · Σ over experts of (share of the tokens that chose it) · (mean probability): `expertsPerToken` when all are used alike, more
 * when some are preferred (Fedus et al. 2022, "Switch transformers", equations 4–6). Layers count together, as in Mixtral. For each
 * text by itself: DeepSeek-AI 2024, "DeepSeek-V3", equations 17–20, whose shares are of choices, so that it is `expertsPerToken` times less.
 *
 * @returns a scalar
 */
export function loadBalancingLoss(routings: readonly Routing[], { real, perText = false }: LoadBalancingOptions = {}): Tensor {
  const [first] = routings;
  if (!first) throw new ArgumentError("loadBalancingLoss: there is no routing to balance.");
  const [batch, seq, experts] = first.probabilities.shape as unknown as readonly [Dim, Dim, number];
  const together = perText ? [1] : [0, 1];
  const { dtype } = first.probabilities;
  const counted = real && unsqueeze(cast(real, dtype), 2); // [batch, seq, 1]
  const total = counted ? maximum(sum(counted, { axes: together }), 1) : numberOfElements(perText ? [seq] : [batch, seq], dtype);
  /** Mean over tokens and layers, for each expert: [experts], or [batch, experts] for each text */
  const average = (perLayer: (routing: Routing) => Tensor) => {
    const summed = routings.map((routing) => {
      const perToken = perLayer(routing); // [batch, seq, experts]
      return sum(counted ? mul(perToken, counted) : perToken, { axes: together });
    });
    return div(
      summed.reduce((a, b) => add(a, b)),
      mul(total, routings.length),
    );
  };
  const shares = average(({ chosen }) => choicesOf(chosen, experts, dtype));
  const probabilities = average((routing) => routing.probabilities);
  const preferred = sum(mul(shares, probabilities), { axes: [-1] }); // a scalar, or [batch]
  // A row of nothing but padding is no text.
  const texts = perText && counted ? sum(cast(greater(sum(counted, { axes: [1, 2] }), 0), dtype)) : undefined;
  return mul(texts ? div(sum(preferred), maximum(texts, 1)) : mean(preferred), experts);
}

/** 1 where a token chose an expert, else 0: float [batch, seq, experts] */
function choicesOf(chosen: Tensor, experts: number, dtype: DType): Tensor {
  const numbers = constant(
    Array.from({ length: experts }, (_, e) => e),
    "int64",
  );
  const isOf = equal(unsqueeze(chosen, 3), numbers); // [batch, seq, expertsPerToken, experts]
  return sum(cast(isOf, dtype), { axes: [2] });
}
