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
import { Tensor } from "../graph/tensor.js";
import { named } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import { type ParameterGroup, type Trained, trainedParameters } from "./parameter-groups.js";
import { StatePart } from "./state-part.js";
import { join, takeApart, type UpdateRule, type UpdateUnit, unitsOf } from "./update-rule.js";

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

const mostElementsAsVector = 2 ** 22;

/** An optimizer of a model: parameters in units, each of which follows a rule. Methods are classes that say which. */
export abstract class Optimizer {
  readonly trained: readonly Trained[];
  protected readonly units: readonly UpdateUnit[];
  readonly #state: ReadonlyMap<UpdateUnit, Readonly<Record<string, Variable>>>;
  readonly #stepCount = new Variable([], { name: "stepCount" });
  readonly #accumulated: ReadonlyMap<UpdateUnit, Variable>;
  readonly #accumulatedWeight: Variable;

  /**
   * Trains the parameters of `model` that are not frozen now.
   *
   * @param ruleOf the method for each of them; rules are compared by identity
   */
  protected constructor(model: Module, { flat, ...options }: OptimizerOptions, ruleOf: (trained: Trained) => UpdateRule) {
    this.trained = trainedParameters(model, options);
    const elements = this.trained.reduce((total, { parameter }) => total + elementCount(parameter.shape), 0);
    this.units = unitsOf(this.trained, ruleOf, flat ?? elements <= mostElementsAsVector);
    this.#state = new Map(
      this.units.map((unit) => [
        unit,
        Object.fromEntries(
          Object.entries(unit.rule.state(unit)).map(([name, shape]) => [
            name,
            new Variable(shape, { dtype: unit.dtype, name: `${name}.${unit.path}` }),
          ]),
        ),
      ]),
    );
    this.#accumulated = new Map(
      this.units.map((unit) => [unit, new Variable(unit.shape, { dtype: unit.dtype, name: `accumulated.${unit.path}` })]),
    );
    this.#accumulatedWeight = new Variable([], { name: "accumulatedWeight" });
  }

  /**
   * The optimizer's state between steps by name, for checkpoints: what belongs to a parameter has the parameter's name in it, whether it
   * is updated by itself or in a vector.
   */
  variables(): ReadonlyMap<string, Variable> {
    return new Map(
      [...this.#stateOfUnits()]
        .flatMap(([unit, name, variable]) => [...byParameter(unit, name, variable)])
        .concat([["stepCount", this.#stepCount]]),
    );
  }

  /**
   * The state as a file with these names has it. Up to version 0.1 vectors were saved whole (`firstMoment.all.0`), and their elements told
   * apart by the order of the parameters alone.
   */
  variablesNamed(names: Iterable<string>): ReadonlyMap<string, Variable> {
    const given = new Set(names);
    const vectors = [...this.#stateOfUnits()].filter(([unit]) => unit.trained.length > 1);
    if (!vectors.some(([unit, name]) => given.has(`${name}.${unit.path}`))) return this.variables();
    return new Map(
      [...this.#stateOfUnits()]
        .map(([unit, name, variable]): [string, Variable] => [`${name}.${unit.path}`, variable])
        .concat([["stepCount", this.#stepCount]]),
    );
  }

  *#stateOfUnits(): Iterable<readonly [UpdateUnit, string, Variable]> {
    for (const [unit, state] of this.#state) for (const [name, variable] of Object.entries(state)) yield [unit, name, variable];
  }

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
        cast(join(unit.trained.map(({ parameter }) => gradients.get(parameter) as Tensor)), unit.dtype),
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
    const steps = this.#beginUpdate();
    for (const [unit, gradient] of gradients) {
      const parameters = unit.trained.map(({ parameter }) => parameter);
      const ofUnit = cast(scale, unit.dtype);
      const ofSchedule = cast(rate, unit.dtype);
      const { kept, change } = unit.rule.update({
        ...{ unit, gradient, scale: ofUnit, step: steps.get(unit.dtype) as Tensor },
        state: this.#state.get(unit) as Readonly<Record<string, Variable>>,
        rate: unit.learningRateScale === 1 ? ofSchedule : mul(ofSchedule, unit.learningRateScale),
        value: () => cast(join(parameters), unit.dtype),
      });
      // Parameters are not laid end to end: that would copy each before and after.
      const changes = takeApart(change, parameters);
      parameters.forEach((parameter, i) => {
        const value = cast(parameter, unit.dtype);
        parameter.assign(cast(add(kept ? mul(value, kept) : value, changes[i] as Tensor), parameter.dtype));
      });
    }
    return { gradientNorm };
  }

  /** Counts the step, and lets each rule record what its units share. */
  #beginUpdate(): ReadonlyMap<UpdateUnit["dtype"], Tensor> {
    const step = add(this.#stepCount, 1);
    this.#stepCount.assign(step);
    const steps = new Map<UpdateUnit["dtype"], Tensor>();
    const perRule = new Map<UpdateRule, Map<UpdateUnit["dtype"], Tensor>>();
    for (const { rule, dtype } of this.units) {
      if (!steps.has(dtype)) steps.set(dtype, cast(step, dtype));
      perRule.set(rule, (perRule.get(rule) ?? new Map()).set(dtype, steps.get(dtype) as Tensor));
    }
    for (const [rule, ofRule] of perRule) rule.begin?.(ofRule);
    return steps;
  }
}

/** What is kept for a unit, under the names of its parameters. */
function* byParameter({ trained, path }: UpdateUnit, name: string, variable: Variable): Iterable<[string, Variable]> {
  if (trained.length === 1) return yield [`${name}.${path}`, variable];
  let start = 0;
  for (const each of trained) {
    const own = `${name}.${each.path}`;
    yield [own, new StatePart(variable, start, each.parameter.shape, own)];
    start += elementCount(each.parameter.shape);
  }
}

const lengthOf = ({ shape }: Tensor): number => elementCount(shape as readonly number[]);

/**
 * Σ of all squares, added from the last gradient to the first. Gradients of the last layers are made first, and an engine
 * that computes on demand (ONNX Runtime does, operands that were recorded last before others) then makes each gradient as
 * soon as it can be made, so that what it is made from can be forgotten (likewise when they are laid end to end: the longest
 * vector is the last). Added the other way round, the 29 M-parameter step of `bench train` holds 1 GB more.
 */
function squaredNorm(gradients: readonly Tensor[]): Tensor {
  return gradients.map((gradient) => cast(sumOfSquares(gradient), "float32")).reduceRight((total, square) => add(square, total));
}
