/** What optimizers share: which parameters they train, clipping, accumulation over micro-steps, and their state. */

import { ArgumentError } from "../errors.js";
import { allocate } from "../graph/dtype.js";
import { grad } from "../graph/gradient.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { constant } from "../graph/leaves.js";
import { add, div, maximum, minimum, mul, sqrt } from "../graph/ops/arithmetic.js";
import type { TensorLike } from "../graph/ops/elementwise.js";
import { zerosLike } from "../graph/ops/fill.js";
import { sumOfSquares } from "../graph/ops/reduce.js";
import { Tensor } from "../graph/tensor.js";
import { named } from "../graph/trace.js";
import { type Parameter, Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";

/** Settings for the parameters that a group matches; the first group that does counts. */
export interface ParameterGroup {
  readonly match: RegExp | ((path: string, parameter: Parameter) => boolean);
  /** Factor on the learning rate. Default 1. */
  readonly learningRateScale?: number;
  /** Default: the optimizer's. */
  readonly weightDecay?: number;
}

export interface OptimizerOptions {
  /** Strength of the pull towards 0. */
  readonly weightDecay?: number;
  /** Default: one group in which vectors and scalars (biases, norms) are not decayed. */
  readonly groups?: readonly ParameterGroup[];
}

export interface UpdateOptions {
  readonly learningRate: TensorLike;
  /** Gradients are scaled down to this norm, taken over all parameters together, when theirs is larger. Default: not. */
  readonly clipNorm?: number;
}

export type UpdateResult = {
  /** Euclidean norm of all gradients together, before clipping. */
  readonly gradientNorm: Tensor;
};

/** One parameter with what its group says of it. */
export interface Trained {
  readonly path: string;
  readonly parameter: Parameter;
  readonly learningRateScale: number;
  readonly weightDecay: number;
}

/** Vectors and scalars are not pulled towards 0: for norms and biases that has no good reason (Loshchilov & Hutter tune matrices). */
const defaultGroups: readonly ParameterGroup[] = [{ match: (_path, parameter) => parameter.rank < 2, weightDecay: 0 }];

/** The gradient is `gradient · scale`; the product is left to the optimizer, which multiplies by constants anyway. */
export interface ClippedGradient {
  readonly gradient: Tensor;
  /** A scalar, at most 1. */
  readonly scale: Tensor;
}

export abstract class Optimizer {
  readonly trained: readonly Trained[];
  readonly #accumulated: ReadonlyMap<Parameter, Variable>;
  readonly #accumulatedWeight: Variable;

  /** Trains the parameters of `model` that are not frozen now. */
  constructor(model: Module, { weightDecay = 0, groups = defaultGroups }: OptimizerOptions) {
    const parameters = [...model.parameters()].filter(([, parameter]) => parameter.trainable);
    if (parameters.length === 0) throw new ArgumentError("The model has no parameter to train: it has none, or all are frozen.");
    this.trained = parameters.map(([path, parameter]) => {
      parameter.path ??= path;
      const group = groups.find(({ match }) => (match instanceof RegExp ? path.search(match) >= 0 : match(path, parameter)));
      return {
        path,
        parameter,
        learningRateScale: group?.learningRateScale ?? 1,
        weightDecay: group?.weightDecay ?? weightDecay,
      };
    });
    this.#accumulated = new Map(
      this.trained.map(({ path, parameter }) => [parameter, new Variable(parameter.shape, { name: `accumulated.${path}` })]),
    );
    this.#accumulatedWeight = new Variable([], { name: "accumulatedWeight" });
  }

  /** Records what one parameter and its state become. */
  protected abstract updateParameter(trained: Trained, gradient: ClippedGradient, learningRate: Tensor): void;

  /** Records what state that belongs to no parameter becomes, such as the step count; called before the parameters. */
  protected abstract beginUpdate(): void;

  /** The optimizer's state between steps by name, for checkpoints. */
  abstract variables(): ReadonlyMap<string, Variable>;

  /** Forgets what `accumulate` has added since the last `apply`, e.g. when a step was interrupted. */
  async discardAccumulated(): Promise<void> {
    if (((await this.#accumulatedWeight.read()).data as Float32Array)[0] === 0) return;
    for (const variable of [...this.#accumulated.values(), this.#accumulatedWeight])
      variable.write({
        dtype: variable.dtype,
        shape: variable.shape,
        data: allocate(variable.dtype, elementCount(variable.shape)),
      } as HostArray);
  }

  /** Records one step: gradients of the scalar `loss`, clipping, and what each parameter becomes. */
  update(loss: Tensor, options: UpdateOptions): UpdateResult {
    return this.#apply(this.#gradients(loss), options);
  }

  /**
   * Records one micro-step: adds the gradients of `loss` (a mean), times `weight` (how many it is a mean of), to those of
   * earlier micro-steps. After `apply` the step equals one on all of it at once.
   */
  accumulate(loss: Tensor, { weight }: { readonly weight: Tensor }): void {
    const gradients = this.#gradients(mul(loss, weight));
    this.trained.forEach(({ parameter }, i) => {
      const accumulator = this.#accumulated.get(parameter) as Variable;
      accumulator.assign(add(accumulator, gradients[i] as Tensor));
    });
    this.#accumulatedWeight.assign(add(this.#accumulatedWeight, weight));
  }

  /** Records the step for what was accumulated, and begins anew. */
  apply(options: UpdateOptions): UpdateResult {
    const total = maximum(this.#accumulatedWeight, 1e-30);
    const gradients = this.trained.map(({ parameter }) => {
      const accumulator = this.#accumulated.get(parameter) as Variable;
      accumulator.assign(zerosLike(accumulator));
      return div(accumulator, total);
    });
    this.#accumulatedWeight.assign(constant(0));
    return this.#apply(gradients, options);
  }

  #gradients(loss: Tensor): readonly Tensor[] {
    return grad(
      loss,
      this.trained.map(({ parameter }) => parameter),
    );
  }

  #apply(gradients: readonly Tensor[], { learningRate, clipNorm }: UpdateOptions): UpdateResult {
    if (clipNorm !== undefined && !(clipNorm > 0))
      throw new ArgumentError(`Gradients are clipped to a norm above 0, but clipNorm is ${clipNorm}.`);
    const gradientNorm = sqrt(squaredNorm(gradients));
    const scale = clipNorm === undefined ? constant(1) : minimum(div(clipNorm, add(gradientNorm, 1e-6)), 1);
    const rate = learningRate instanceof Tensor ? learningRate : constant(learningRate);
    this.beginUpdate();
    this.trained.forEach((trained, i) => {
      const gradient = named(`gradient.${trained.path}`, gradients[i] as Tensor);
      this.updateParameter(trained, { gradient, scale }, rate);
    });
    return { gradientNorm };
  }
}

/**
 * Σ of all squares, added from the last gradient to the first. Gradients of the last layers are made first, and an engine
 * that computes on demand (ONNX Runtime does, operands that were recorded last before others) then makes each gradient as
 * soon as it can be made, so that what it is made from can be forgotten. Added the other way round, the 29 M-parameter
 * step of `bench train` holds 1 GB more.
 */
function squaredNorm(gradients: readonly Tensor[]): Tensor {
  return gradients.map((gradient) => sumOfSquares(gradient)).reduceRight((total, square) => add(square, total));
}
