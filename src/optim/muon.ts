/** Muon: momentum whose singular values are all made about 1, for the matrices inside a model. */

import { ArgumentError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import { add, div, maximum, mul, neg, sqrt, sub } from "../graph/ops/arithmetic.js";
import { matmul } from "../graph/ops/matmul.js";
import { sumOfSquares } from "../graph/ops/reduce.js";
import { reshape, swapAxes } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import type { Parameter, Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { AdamWRule, type AdamWRuleOptions } from "./adamw.js";
import { Optimizer, type OptimizerOptions } from "./optimizer.js";
import type { UnitUpdate, UpdateContext, UpdateRule, UpdateUnit } from "./update-rule.js";

export interface MuonOptions extends OptimizerOptions {
  /** Default 0.95. */
  readonly momentum?: number;
  /** Default true. */
  readonly nesterov?: boolean;
  /** Default 0.1. */
  readonly weightDecay?: number;
  /**
   * How the rate depends on a matrix's shape: `original` is √max(1, rows/columns); `matchAdamW`, 0.2·√max(rows, columns), makes updates
   * as large as AdamW's, so that its rates fit (Liu et al. 2025, "Muon is scalable for LLM training"). Default: `original`.
   */
  readonly adjustRate?: "original" | "matchAdamW";
  /** Which parameters it updates; the others are AdamW's. Default: all matrices but embeddings and the last layer. */
  readonly matrices?: (path: string, parameter: Parameter) => boolean;
  /** Of the AdamW of the others. Default: betas [0.9, 0.95], epsilon 1e-8. */
  readonly adamW?: AdamWRuleOptions;
  /** Factor on the learning rate of the others: Muon's rates are often larger than AdamW's. Default 1. */
  readonly adamWRateScale?: number;
}

/** Whether a parameter is a matrix inside a model: not a table of embeddings, and not the last layer. */
export const isHiddenMatrix = (path: string, { shape }: { readonly shape: readonly number[] }): boolean =>
  shape.length >= 2 && !/(^|\.)(wte|wpe|\w*embed\w*|lmHead|embedOut|classifier|score)(\.|$)/i.test(path);

/**
 * Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"), with AdamW for everything else. Weights of
 * convolutions are matrices [out, everything else].
 */
export class Muon extends Optimizer {
  constructor(
    model: Module,
    {
      momentum = 0.95,
      nesterov = true,
      adjustRate = "original",
      matrices,
      adamW,
      adamWRateScale = 1,
      ...options
    }: MuonOptions = {},
  ) {
    if (!(momentum >= 0 && momentum < 1)) throw new ArgumentError(`Muon: a momentum lies in [0, 1), but ${momentum} was given.`);
    const muon = new MuonRule(momentum, nesterov, adjustRate);
    const others = scaledRule(new AdamWRule(adamW ?? {}), adamWRateScale);
    const isMatrix = matrices ?? isHiddenMatrix;
    super(model, { weightDecay: 0.1, ...options }, ({ path, parameter }) =>
      parameter.rank >= 2 && isMatrix(path, parameter) ? muon : others,
    );
  }
}

/** A rule whose learning rate is a multiple. */
const scaledRule = (rule: AdamWRule, by: number): UpdateRule =>
  by === 1
    ? rule
    : {
        elementwise: rule.elementwise,
        state: (unit) => rule.state(unit),
        begin: (steps) => rule.begin(steps),
        update: (context) => rule.update({ ...context, rate: mul(context.rate, by) }),
      };

class MuonRule implements UpdateRule {
  readonly elementwise = false;

  constructor(
    private readonly momentum: number,
    private readonly nesterov: boolean,
    private readonly adjustRate: "original" | "matchAdamW",
  ) {}

  state({ shape }: UpdateUnit) {
    return { momentum: shape };
  }

  update({ unit, state, gradient, scale, rate }: UpdateContext): UnitUpdate {
    const { momentum: before } = state as { readonly momentum: Variable };
    const clipped = mul(gradient, scale);
    const blend = (old: Tensor, next: Tensor) => add(mul(old, this.momentum), mul(next, 1 - this.momentum));
    const momentum = blend(before, clipped);
    before.assign(momentum);
    const direction = this.nesterov ? add(mul(clipped, 1 - this.momentum), mul(momentum, this.momentum)) : momentum;
    const rows = unit.shape[0] as number;
    const columns = elementCount(unit.shape) / rows;
    const orthogonal = reshape(orthogonalized(reshape(direction, [rows, columns]), rows, columns), unit.shape);
    const adjusted =
      this.adjustRate === "original" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
    const change = mul(orthogonal, mul(neg(rate), adjusted));
    return unit.weightDecay === 0 ? { change } : { kept: sub(1, mul(rate, unit.weightDecay)), change };
  }
}

/** The quintic a·x + b·x³ + c·x⁵: steep at 0, and between about 0.7 and 1.2 after some steps. */
const [a, b, c] = [3.4445, -4.775, 2.0315];
const STEPS = 5;

/** Nearly U·Vᵀ of a matrix U·S·Vᵀ, by Newton–Schulz steps on the shorter side. */
function orthogonalized(matrix: Tensor, rows: number, columns: number): Tensor {
  const turned = rows > columns;
  const wide = turned ? swapAxes(matrix, 0, 1) : matrix;
  let x = div(wide, maximum(sqrt(sumOfSquares(wide)), 1e-7)); // no singular value above 1
  for (let i = 0; i < STEPS; i++) {
    const gram = matmul(x, x, { transposeB: true });
    const polynomial = add(mul(gram, b), matmul(gram, gram, { scale: c }));
    x = add(mul(x, a), matmul(polynomial, x));
  }
  return turned ? swapAxes(x, 0, 1) : x;
}
