/** Adafactor: second moments of matrices as a product of a column and a row. */

import { ArgumentError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import { add, div, exp, log, maximum, minimum, mul, neg, reciprocal, sqrt, square, sub } from "../graph/ops/arithmetic.js";
import { mean, sumOfSquares } from "../graph/ops/reduce.js";
import type { Tensor } from "../graph/tensor.js";
import type { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";

export interface AdafactorOptions extends OptimizerOptions {
  /** The second moments' decay is 1 − step^this. Default −0.8. */
  readonly decayExponent?: number;
  /**
   * Least root of a second moment and least mean of the row moments, as PyTorch has it, and least size of a parameter that steps are
   * relative to. transformers takes [1e-30, 1e-3]. Default [2⁻²³, 1e-3].
   */
  readonly epsilons?: readonly [number, number];
  /** The root mean square of an update is clipped to this. Default 1. */
  readonly clipThreshold?: number;
  /** Whether steps are relative to the size of each parameter. Default true; T5 is often fine-tuned without. */
  readonly scaleParameter?: boolean;
  /** Whether the rate is at most 1/√step. Default true. */
  readonly relativeStep?: boolean;
  /** Decoupled. Default 0. */
  readonly weightDecay?: number;
}

/** Adafactor (Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost", algorithms 4 and 5), without first moment. */
export class Adafactor extends Optimizer {
  constructor(model: Module, options: AdafactorOptions = {}) {
    const {
      decayExponent = -0.8,
      epsilons = [2 ** -23, 1e-3],
      clipThreshold = 1,
      scaleParameter = true,
      relativeStep = true,
    } = options;
    if (!(decayExponent <= 0))
      throw new ArgumentError(`Adafactor: the decay's exponent is at most 0, but ${decayExponent} was given.`);
    if (!(clipThreshold > 0))
      throw new ArgumentError(`Adafactor: updates are clipped to a size above 0, but ${clipThreshold} was given.`);
    const rule = new AdafactorRule({ decayExponent, epsilons, clipThreshold, scaleParameter, relativeStep });
    super(model, options, () => rule);
  }
}

/** Squares below this are none in float32. */
const SMALLEST = 1e-30;

type Settings = Required<
  Pick<AdafactorOptions, "decayExponent" | "epsilons" | "clipThreshold" | "scaleParameter" | "relativeStep">
>;

class AdafactorRule implements UpdateRule {
  readonly elementwise = false;

  constructor(private readonly settings: Settings) {}

  state({ shape }: UpdateUnit): Readonly<Record<string, readonly number[]>> {
    if (shape.length < 2) return { secondMoment: shape };
    return { rowMoment: [...shape.slice(0, -1), 1], columnMoment: [...shape.slice(0, -2), 1, shape.at(-1) as number] };
  }

  update({ unit, state, gradient, scale, rate, step, value }: UpdateContext): UnitUpdate {
    const { decayExponent, epsilons, clipThreshold, scaleParameter, relativeStep } = this.settings;
    const [leastMoment, leastSize] = epsilons;
    const clipped = mul(gradient, scale);
    const fresh = exp(mul(log(step), decayExponent)); // 1 − β₂
    const moved = (variable: Variable, next: Tensor) => {
      const moment = add(mul(variable, sub(1, fresh)), mul(next, fresh));
      variable.assign(moment);
      return moment;
    };
    const moment = this.#moment(state, square(clipped), moved);
    const update = mul(clipped, reciprocal(sqrt(maximum(moment, Math.max(leastMoment ** 2, SMALLEST)))));
    const size = rootMeanSquare(update, unit);
    const bounded = relativeStep ? minimum(rate, reciprocal(sqrt(step))) : rate;
    const relative = scaleParameter ? mul(maximum(rootMeanSquare(value(), unit), leastSize), bounded) : bounded;
    const change = mul(update, neg(div(relative, maximum(div(size, clipThreshold), 1))));
    return unit.weightDecay === 0 ? { change } : { kept: sub(1, mul(rate, unit.weightDecay)), change };
  }

  /** The second moments, or for matrices the product of rows and columns that stands for them (equation 4). */
  #moment(state: UpdateContext["state"], squares: Tensor, moved: (variable: Variable, next: Tensor) => Tensor): Tensor {
    const { secondMoment, rowMoment, columnMoment } = state;
    if (secondMoment) return moved(secondMoment, squares);
    const rows = moved(rowMoment as Variable, mean(squares, { axes: [-1], keepDims: true }));
    const columns = moved(columnMoment as Variable, mean(squares, { axes: [-2], keepDims: true }));
    const average = maximum(mean(rows, { axes: [-2], keepDims: true }), this.settings.epsilons[0]);
    return mul(div(rows, average), columns);
  }
}

const rootMeanSquare = (x: Tensor, { shape }: UpdateUnit): Tensor =>
  sqrt(mul(sumOfSquares(x), 1 / Math.max(1, elementCount(shape))));
