/** What optimizers share: which parameters they train, clipping, accumulation over micro-steps, and their state. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { allocate } from "../graph/dtype.js";
import { grad } from "../graph/gradient.js";
import { nodesOf } from "../graph/graph.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { constant } from "../graph/leaves.js";
import { add, div, maximum, minimum, mul, sqrt } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import type { TensorLike } from "../graph/ops/elementwise.js";
import { zerosLike } from "../graph/ops/fill.js";
import { sumOfSquares } from "../graph/ops/reduce.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, split } from "../graph/ops/shape-slice.js";
import { Tensor } from "../graph/tensor.js";
import { named } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";
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
  /**
   * Whether all parameters of a group are updated as one vector. Default: in models of at most 4,194,304 trained elements
   * (16 MB). Of a small training step much is the time between nodes, and a parameter of its own costs a dozen of them. In
   * larger models copies cost more than nodes.
   */
  readonly flat?: boolean;
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

/**
 * What an optimizer updates as one tensor: a parameter, or all parameters with the same settings laid end to end. Optimizers
 * that compute each element by itself need not know which.
 */
export interface UpdateUnit {
  /** Names what the optimizer keeps for it. */
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly shape: readonly number[];
  /**
   * What its gradient comes in, what the optimizer computes in and keeps for it: float32 for narrower parameters too, whose own type
   * would lose small changes and overflow in squares; float64 for float64.
   */
  readonly dtype: "float32" | "float64";
  readonly learningRateScale: number;
  readonly weightDecay: number;
}

const mostElementsAsVector = 2 ** 22;

/** Vectors and scalars are not pulled towards 0: for norms and biases that has no good reason (Loshchilov & Hutter tune matrices). */
const defaultGroups: readonly ParameterGroup[] = [{ match: (_path, parameter) => parameter.rank < 2, weightDecay: 0 }];

/** The gradient is `gradient · scale`; the product is left to the optimizer, which multiplies by constants anyway. */
export interface ClippedGradient {
  readonly gradient: Tensor;
  /** A scalar of the unit's dtype, at most 1. */
  readonly scale: Tensor;
}

/** The new value is `value · kept + change`. */
export interface UnitUpdate {
  /** A scalar of the unit's dtype. Default 1. */
  readonly kept?: Tensor;
  /** Of the unit's shape and dtype. */
  readonly change: Tensor;
}

export abstract class Optimizer {
  readonly trained: readonly Trained[];
  protected readonly units: readonly UpdateUnit[];
  readonly #accumulated: ReadonlyMap<UpdateUnit, Variable>;
  readonly #accumulatedWeight: Variable;

  /** Trains the parameters of `model` that are not frozen now. */
  constructor(model: Module, { weightDecay = 0, groups = defaultGroups, flat }: OptimizerOptions) {
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
    const elements = this.trained.reduce((total, { parameter }) => total + elementCount(parameter.shape), 0);
    this.units = (flat ?? elements <= mostElementsAsVector) ? vectors(this.trained) : this.trained.map(single);
    this.#accumulated = new Map(
      this.units.map((unit) => [unit, new Variable(unit.shape, { dtype: unit.dtype, name: `accumulated.${unit.path}` })]),
    );
    this.#accumulatedWeight = new Variable([], { name: "accumulatedWeight" });
  }

  /**
   * Records what the optimizer's state for one unit becomes; returns what is done to its parameters.
   *
   * @param learningRate a scalar of the unit's dtype
   */
  protected abstract updateUnit(unit: UpdateUnit, gradient: ClippedGradient, learningRate: Tensor): UnitUpdate;

  /** Records what state that belongs to no unit becomes, such as the step count; called before the units. */
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
    const gradients = this.#gradients(loss);
    const ofUnits = this.#ofUnits(gradients);
    // Vectors are there for the update; to lay all gradients end to end once more would copy them.
    const all =
      this.units.length < this.trained.length
        ? [...ofUnits.values()].sort((a, b) => lengthOf(a) - lengthOf(b))
        : [...ofUnits.values()];
    return this.#apply(ofUnits, all, options);
  }

  /**
   * Records one micro-step: adds the gradients of `loss` (a mean), times `weight` (how many it is a mean of), to those of
   * earlier micro-steps. After `apply` the step equals one on all of it at once.
   */
  accumulate(loss: Tensor, { weight }: { readonly weight: Tensor }): void {
    // The sum of a narrow loss over many tokens may not fit into its type: then each gradient is multiplied.
    const late = loss.dtype !== weight.dtype;
    const gradients = this.#gradients(late ? loss : mul(loss, weight));
    for (const [unit, gradient] of this.#ofUnits(gradients)) {
      const accumulator = this.#accumulated.get(unit) as Variable;
      accumulator.assign(add(accumulator, late ? mul(gradient, cast(weight, unit.dtype)) : gradient));
    }
    this.#accumulatedWeight.assign(add(this.#accumulatedWeight, weight));
  }

  /** Records the step for what was accumulated, and begins anew. */
  apply(options: UpdateOptions): UpdateResult {
    const total = maximum(this.#accumulatedWeight, 1e-30);
    const gradients = new Map(
      [...this.#accumulated].map(([unit, accumulator]) => {
        accumulator.assign(zerosLike(accumulator));
        return [unit, div(accumulator, cast(total, unit.dtype))];
      }),
    );
    this.#accumulatedWeight.assign(constant(0));
    return this.#apply(gradients, [...gradients.values()], options);
  }

  #gradients(loss: Tensor): ReadonlyMap<Parameter, Tensor> {
    for (const { outputs } of nodesOf([loss])) {
      const [leaf] = outputs;
      if (leaf instanceof Parameter && leaf.trainable && !leaf.belongsToModule)
        throw new TsumikiError(
          "TRACE",
          `The loss depends on a parameter (${leaf.describe()}) that belongs to no module, so that no optimizer trains it. Make it a property ` +
            "of the module that is trained (not a #private one), or freeze it with trainable = false.",
        );
    }
    const gradients = grad(
      loss,
      this.trained.map(({ parameter }) => parameter),
    );
    return new Map(this.trained.map(({ path, parameter }, i) => [parameter, named(`gradient.${path}`, gradients[i] as Tensor)]));
  }

  #ofUnits(gradients: ReadonlyMap<Parameter, Tensor>): ReadonlyMap<UpdateUnit, Tensor> {
    return new Map(
      this.units.map((unit) => [
        unit,
        cast(join(unit.parameters.map((parameter) => gradients.get(parameter) as Tensor)), unit.dtype),
      ]),
    );
  }

  /** @param all the same gradients in the order in which their norm is to be added up */
  #apply(
    gradients: ReadonlyMap<UpdateUnit, Tensor>,
    all: readonly Tensor[],
    { learningRate, clipNorm }: UpdateOptions,
  ): UpdateResult {
    if (clipNorm !== undefined && !(clipNorm > 0))
      throw new ArgumentError(`Gradients are clipped to a norm above 0, but clipNorm is ${clipNorm}.`);
    const gradientNorm = sqrt(squaredNorm(all));
    const scale = clipNorm === undefined ? constant(1) : minimum(div(clipNorm, add(gradientNorm, 1e-6)), 1);
    const rate = learningRate instanceof Tensor ? learningRate : constant(learningRate);
    this.beginUpdate();
    for (const [unit, gradient] of gradients) {
      const clipped = { gradient, scale: cast(scale, unit.dtype) };
      const { kept, change } = this.updateUnit(unit, clipped, cast(rate, unit.dtype));
      // Parameters are not laid end to end: that would copy each before and after.
      const changes = takeApart(change, unit.parameters);
      unit.parameters.forEach((parameter, i) => {
        const value = cast(parameter, unit.dtype);
        parameter.assign(cast(add(kept ? mul(value, kept) : value, changes[i] as Tensor), parameter.dtype));
      });
    }
    return { gradientNorm };
  }
}

const single = ({ path, parameter, learningRateScale, weightDecay }: Trained): UpdateUnit => {
  const { shape } = parameter;
  const dtype = parameter.dtype === "float64" ? "float64" : "float32";
  return { path, parameters: [parameter], shape, dtype, learningRateScale, weightDecay };
};

/** One unit for all that have the same element type and settings. */
function vectors(trained: readonly Trained[]): UpdateUnit[] {
  const groups = new Map<string, Trained[]>();
  for (const each of trained) {
    const key = [each.parameter.dtype, each.learningRateScale, each.weightDecay].join();
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].map((group, i) => {
    const [first] = group as [Trained];
    if (group.length === 1) return single(first);
    const parameters = group.map(({ parameter }) => parameter);
    const length = parameters.reduce((total, { shape }) => total + elementCount(shape), 0);
    return { ...single(first), path: `all.${i}`, parameters, shape: [length] };
  });
}

/** Several tensors laid end to end as one vector; one alone stays as it is. */
const join = (tensors: readonly Tensor[]): Tensor =>
  tensors.length === 1
    ? (tensors[0] as Tensor)
    : concat(
        tensors.map((tensor) => reshape(tensor, [-1])),
        0,
      );

const lengthOf = ({ shape }: Tensor): number => elementCount(shape as readonly number[]);

/** The opposite of `join`: tensors of the parameters' shapes. */
function takeApart(value: Tensor, parameters: readonly Parameter[]): readonly Tensor[] {
  if (parameters.length === 1) return [value];
  const sizes = parameters.map(({ shape }) => elementCount(shape));
  return split(value, sizes, 0).map((part, i) => reshape(part, (parameters[i] as Parameter).shape));
}

/**
 * Σ of all squares, added from the last gradient to the first. Gradients of the last layers are made first, and an engine
 * that computes on demand (ONNX Runtime does, operands that were recorded last before others) then makes each gradient as
 * soon as it can be made, so that what it is made from can be forgotten (likewise when they are laid end to end: the longest
 * vector is the last). Added the other way round, the 29 M-parameter step of `bench train` holds 1 GB more.
 */
function squaredNorm(gradients: readonly Tensor[]): Tensor {
  return gradients.map((gradient) => cast(sumOfSquares(gradient), "float32")).reduceRight((total, square) => add(square, total));
}
