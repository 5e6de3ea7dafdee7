/** Adam with decoupled weight decay. */

import { ArgumentError } from "../errors.js";
import { add, div, exp, mul, neg, sqrt, square, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import type { Tensor } from "../graph/tensor.js";
import { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { type ClippedGradient, Optimizer, type OptimizerOptions, type UnitUpdate, type UpdateUnit } from "./optimizer.js";

export interface AdamWOptions extends OptimizerOptions {
  /** Decay rates of the running means of gradients and of their squares. Default [0.9, 0.95]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** Default 0.1. */
  readonly weightDecay?: number;
}

/** √(1 − β₂ᵗ) and √(1 − β₂ᵗ) / (1 − β₁ᵗ) */
interface Correction {
  readonly second: Tensor;
  readonly both: Tensor;
}

interface Moments {
  readonly first: Variable;
  readonly second: Variable;
}

/**
 * AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2; Kingma & Ba 2015 for the bias
 * correction). The decay is multiplied by the learning rate, as PyTorch does it.
 */
export class AdamW extends Optimizer {
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  readonly #moments: ReadonlyMap<UpdateUnit, Moments>;
  readonly #stepCount = new Variable([], { name: "stepCount" });
  /** Of the step that is being recorded, for each dtype of units. */
  readonly #corrections = new Map<UpdateUnit["dtype"], Correction>();

  constructor(
    model: Module,
    { betas: [beta1, beta2] = [0.9, 0.95], epsilon = 1e-8, weightDecay = 0.1, ...options }: AdamWOptions = {},
  ) {
    super(model, { weightDecay, ...options });
    for (const beta of [beta1, beta2])
      if (!(beta >= 0 && beta < 1)) throw new ArgumentError(`AdamW: betas lie in [0, 1), but ${beta} was given.`);
    this.#beta1 = beta1;
    this.#beta2 = beta2;
    this.#epsilon = epsilon;
    this.#moments = new Map(
      this.units.map((unit) => [
        unit,
        {
          first: new Variable(unit.shape, { dtype: unit.dtype, name: `firstMoment.${unit.path}` }),
          second: new Variable(unit.shape, { dtype: unit.dtype, name: `secondMoment.${unit.path}` }),
        },
      ]),
    );
  }

  variables(): ReadonlyMap<string, Variable> {
    const moments = [...this.#moments.values()].flatMap(({ first, second }) => [first, second]);
    return new Map([...moments, this.#stepCount].map((variable) => [variable.path as string, variable]));
  }

  protected beginUpdate(): void {
    const step = add(this.#stepCount, 1);
    this.#stepCount.assign(step);
    for (const dtype of new Set(this.units.map((unit) => unit.dtype))) {
      const oneMinusPower = (beta: number) => sub(1, exp(mul(cast(step, dtype), Math.log(beta))));
      const second = sqrt(oneMinusPower(this.#beta2));
      this.#corrections.set(dtype, { second, both: div(second, oneMinusPower(this.#beta1)) });
    }
  }

  protected updateUnit(unit: UpdateUnit, { gradient, scale }: ClippedGradient, learningRate: Tensor): UnitUpdate {
    const { learningRateScale, weightDecay } = unit;
    const { first, second } = this.#moments.get(unit) as Moments;
    const correction = this.#corrections.get(unit.dtype) as Correction;
    const rate = learningRateScale === 1 ? learningRate : mul(learningRate, learningRateScale);
    // (1 − β₁)·g and √(1 − β₂)·g, with everything but g in one scalar: these are passes over all parameters.
    const newFirst = add(mul(first, this.#beta1), mul(gradient, mul(scale, 1 - this.#beta1)));
    const newSecond = add(mul(second, this.#beta2), square(mul(gradient, mul(scale, Math.sqrt(1 - this.#beta2)))));
    // m̂ / (√v̂ + ε) with both corrections moved to scalars: √(1−β₂ᵗ)/(1−β₁ᵗ) · m / (√v + ε·√(1−β₂ᵗ)).
    const direction = div(newFirst, add(sqrt(newSecond), mul(correction.second, this.#epsilon)));
    first.assign(newFirst);
    second.assign(newSecond);
    // The sign is the scalar's: OpenVINO tells a difference as a sum with −1 times the other.
    const change = mul(direction, mul(neg(rate), correction.both));
    return weightDecay === 0 ? { change } : { kept: sub(1, mul(rate, weightDecay)), change };
  }
}
