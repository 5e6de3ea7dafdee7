/** Adam with decoupled weight decay. */

import { ArgumentError } from "../errors.js";
import { add, div, exp, mul, neg, sqrt, square, sub } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";
import type { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";

export interface AdamWRuleOptions {
  /** Decay rates of the running means of gradients and of their squares. Default [0.9, 0.95]. */
  readonly betas?: readonly [number, number] | undefined;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number | undefined;
}

export interface AdamWOptions extends OptimizerOptions, AdamWRuleOptions {
  /** Default 0.1. */
  readonly weightDecay?: number;
}

/** √(1 − β₂ᵗ) and √(1 − β₂ᵗ) / (1 − β₁ᵗ) */
interface Correction {
  readonly second: Tensor;
  readonly both: Tensor;
}

/**
 * AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2; Kingma & Ba 2015 for the bias
 * correction). The decay is multiplied by the learning rate, as PyTorch does it.
 */
export class AdamW extends Optimizer {
  constructor(model: Module, { betas, epsilon, weightDecay = 0.1, ...options }: AdamWOptions = {}) {
    const rule = new AdamWRule({ betas, epsilon });
    super(model, { weightDecay, ...options }, () => rule);
  }
}

/** What AdamW does to a unit. */
export class AdamWRule implements UpdateRule {
  readonly elementwise = true;
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  /** Of the step that is being recorded, for each dtype of units. */
  #corrections: ReadonlyMap<UpdateUnit["dtype"], Correction> = new Map();

  constructor({ betas: [beta1, beta2] = [0.9, 0.95], epsilon = 1e-8 }: AdamWRuleOptions) {
    for (const beta of [beta1, beta2])
      if (!(beta >= 0 && beta < 1)) throw new ArgumentError(`AdamW: betas lie in [0, 1), but ${beta} was given.`);
    this.#beta1 = beta1;
    this.#beta2 = beta2;
    this.#epsilon = epsilon;
  }

  state({ shape }: UpdateUnit) {
    return { firstMoment: shape, secondMoment: shape };
  }

  begin(steps: ReadonlyMap<UpdateUnit["dtype"], Tensor>): void {
    this.#corrections = new Map(
      [...steps].map(([dtype, step]) => {
        const oneMinusPower = (beta: number) => sub(1, exp(mul(step, Math.log(beta))));
        const second = sqrt(oneMinusPower(this.#beta2));
        return [dtype, { second, both: div(second, oneMinusPower(this.#beta1)) }];
      }),
    );
  }

  update({ unit, state, gradient, scale, rate }: UpdateContext): UnitUpdate {
    const { firstMoment: first, secondMoment: second } = state as {
      readonly firstMoment: Variable;
      readonly secondMoment: Variable;
    };
    const correction = this.#corrections.get(unit.dtype) as Correction;
    // (1 − β₁)·g and √(1 − β₂)·g, with everything but g in one scalar: these are passes over all parameters.
    const newFirst = add(mul(first, this.#beta1), mul(gradient, mul(scale, 1 - this.#beta1)));
    const newSecond = add(mul(second, this.#beta2), square(mul(gradient, mul(scale, Math.sqrt(1 - this.#beta2)))));
    // m̂ / (√v̂ + ε) with both corrections moved to scalars: √(1−β₂ᵗ)/(1−β₁ᵗ) · m / (√v + ε·√(1−β₂ᵗ)).
    const direction = div(newFirst, add(sqrt(newSecond), mul(correction.second, this.#epsilon)));
    first.assign(newFirst);
    second.assign(newSecond);
    // The sign is the scalar's: OpenVINO tells a difference as a sum with −1 times the other.
    const change = mul(direction, mul(neg(rate), correction.both));
    return unit.weightDecay === 0 ? { change } : { kept: sub(1, mul(rate, unit.weightDecay)), change };
  }
}
