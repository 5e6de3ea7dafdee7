/** Lion: steps of the same size for every element, in the direction of a momentum's sign. */

import { ArgumentError } from "../errors.js";
import { add, mul, neg, sign, sub } from "../graph/ops/arithmetic.js";
import type { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";

export interface LionOptions extends OptimizerOptions {
  /** Weight of the momentum in the direction, and its own decay. Default [0.9, 0.99]. */
  readonly betas?: readonly [number, number];
  /** Default 0. It pulls as the learning rate does, so with the smaller rates of Lion it is larger than AdamW's. */
  readonly weightDecay?: number;
}

/**
 * Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2). Its rates are 3 to 10 times smaller than those
 * of AdamW, and it keeps half as much.
 */
export class Lion extends Optimizer {
  constructor(model: Module, { betas, ...options }: LionOptions = {}) {
    const rule = new LionRule(betas);
    super(model, options, () => rule);
  }
}

class LionRule implements UpdateRule {
  readonly elementwise = true;
  readonly #betas: readonly [number, number];

  constructor(betas: readonly [number, number] = [0.9, 0.99]) {
    for (const beta of betas)
      if (!(beta >= 0 && beta < 1)) throw new ArgumentError(`Lion: betas lie in [0, 1), but ${beta} was given.`);
    this.#betas = betas;
  }

  state({ shape }: UpdateUnit) {
    return { momentum: shape };
  }

  update({ unit, state, gradient, scale, rate }: UpdateContext): UnitUpdate {
    const { momentum } = state as { readonly momentum: Variable };
    const [beta1, beta2] = this.#betas;
    const direction = sign(add(mul(momentum, beta1), mul(gradient, mul(scale, 1 - beta1))));
    momentum.assign(add(mul(momentum, beta2), mul(gradient, mul(scale, 1 - beta2))));
    const change = mul(direction, neg(rate));
    return unit.weightDecay === 0 ? { change } : { kept: sub(1, mul(rate, unit.weightDecay)), change };
  }
}
