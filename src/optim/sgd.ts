/** Stochastic gradient descent, with momentum or without. */

import { ArgumentError } from "../errors.js";
import { add, mul, neg } from "../graph/ops/arithmetic.js";
import type { Module } from "../nn/module.js";
import { Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";

export interface SGDOptions extends OptimizerOptions {
  /** Share of the last step's direction that stays in the next. Default 0. */
  readonly momentum?: number;
  /** Whether the gradient is taken, as it were, where the momentum leads. Default false. */
  readonly nesterov?: boolean;
  /** Added to the gradient (L2 regularization) and so to the momentum, as PyTorch does it. Default 0. */
  readonly weightDecay?: number;
}

/** Gradient descent with (Nesterov) momentum (Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"). */
export class SGD extends Optimizer {
  constructor(model: Module, { momentum = 0, nesterov = false, ...options }: SGDOptions = {}) {
    if (!(momentum >= 0 && momentum < 1)) throw new ArgumentError(`SGD: a momentum lies in [0, 1), but ${momentum} was given.`);
    if (nesterov && momentum === 0) throw new ArgumentError("SGD: nesterov needs a momentum above 0.");
    const rule = new SGDRule(momentum, nesterov);
    super(model, options, () => rule);
  }
}

class SGDRule implements UpdateRule {
  readonly elementwise = true;

  constructor(
    private readonly momentum: number,
    private readonly nesterov: boolean,
  ) {}

  state({ shape }: UpdateUnit): Readonly<Record<string, readonly number[]>> {
    return this.momentum === 0 ? {} : { momentum: shape };
  }

  update({ unit, state, gradient, scale, rate, value }: UpdateContext): UnitUpdate {
    const clipped = mul(gradient, scale);
    const pulled = unit.weightDecay === 0 ? clipped : add(clipped, mul(value(), unit.weightDecay));
    const before = state.momentum;
    if (!before) return { change: mul(pulled, neg(rate)) };
    const momentum = add(mul(before, this.momentum), pulled);
    before.assign(momentum);
    return { change: mul(this.nesterov ? add(pulled, mul(momentum, this.momentum)) : momentum, neg(rate)) };
  }
}
