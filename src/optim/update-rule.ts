/** What an optimizer does to parameters, apart from which they are: the units that are updated, and the rule of a method. */

import { elementCount } from "../graph/host-array.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, split } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import type { Parameter, Variable } from "../graph/variable.js";
import type { Trained } from "./parameter-groups.js";

/** What is updated as one tensor: a parameter, or all parameters with the same settings laid end to end. */
export interface UpdateUnit {
  /** Names what the optimizer keeps for it. */
  readonly path: string;
  readonly trained: readonly Trained[];
  readonly shape: readonly number[];
  /**
   * What its gradient comes in, what the optimizer computes in and keeps for it: float32 for narrower parameters too, whose own type
   * would lose small changes and overflow in squares; float64 for float64.
   */
  readonly dtype: "float32" | "float64";
  readonly learningRateScale: number;
  readonly weightDecay: number;
  readonly rule: UpdateRule;
}

/** What a rule computes with. Scalars and tensors have the unit's dtype. */
export interface UpdateContext {
  readonly unit: UpdateUnit;
  /** What the rule keeps for the unit, under the names that it gave. */
  readonly state: Readonly<Record<string, Variable>>;
  /** Before clipping: the clipped gradient is `gradient · scale`. The product is left to the rule, which multiplies by constants anyway. */
  readonly gradient: Tensor;
  /** A scalar, at most 1. */
  readonly scale: Tensor;
  /** A scalar; the unit's own factor is in it. */
  readonly rate: Tensor;
  /** Updates with this one, a scalar. */
  readonly step: Tensor;
  /** The parameters' present values as one tensor of the unit's shape. */
  value(): Tensor;
}

/** The new value is `value · kept + change`. */
export interface UnitUpdate {
  /** A scalar of the unit's dtype. Default 1. */
  readonly kept?: Tensor;
  /** Of the unit's shape and dtype. */
  readonly change: Tensor;
}

/** One method of optimization. */
export interface UpdateRule {
  /** Whether each element is computed by itself, so that parameters can be laid end to end. */
  readonly elementwise: boolean;
  /** Names and shapes of what is kept for a unit; all of it begins at 0. */
  state(unit: UpdateUnit): Readonly<Record<string, readonly number[]>>;
  /** Called before the units that follow this rule: records what they share. `step` is a scalar for each of their dtypes. */
  begin?(steps: ReadonlyMap<UpdateUnit["dtype"], Tensor>): void;
  /** Records what the state becomes; returns what is done to the parameters. */
  update(context: UpdateContext): UnitUpdate;
}

/** The units of an optimizer: one for each parameter, or, where `flat`, one for all that have the same element type, settings and rule. */
export function unitsOf(
  trained: readonly Trained[],
  ruleOf: (trained: Trained) => UpdateRule,
  flat: boolean,
): readonly UpdateUnit[] {
  const groups = new Map<string, Trained[]>();
  const rules: UpdateRule[] = [];
  for (const each of trained) {
    const rule = ruleOf(each);
    if (!rules.includes(rule)) rules.push(rule);
    const settings = [each.parameter.dtype, each.learningRateScale, each.weightDecay, rules.indexOf(rule)].join();
    const key = flat && rule.elementwise ? settings : `one ${each.path}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].map((group, i) => {
    const [first] = group as [Trained];
    const { path, parameter, learningRateScale, weightDecay } = first;
    const dtype = parameter.dtype === "float64" ? "float64" : "float32";
    const shared = { dtype, learningRateScale, weightDecay, trained: group, rule: ruleOf(first) } as const;
    if (group.length === 1) return { ...shared, path, shape: parameter.shape };
    return { ...shared, path: `all.${i}`, shape: [group.reduce((total, each) => total + elementCount(each.parameter.shape), 0)] };
  });
}

/** Several tensors laid end to end as one vector; one alone stays as it is. */
export const join = (tensors: readonly Tensor[]): Tensor =>
  tensors.length === 1
    ? (tensors[0] as Tensor)
    : concat(
        tensors.map((tensor) => reshape(tensor, [-1])),
        0,
      );

/** The opposite of `join`: tensors of the parameters' shapes. */
export function takeApart(value: Tensor, parameters: readonly Parameter[]): readonly Tensor[] {
  if (parameters.length === 1) return [value];
  const sizes = parameters.map(({ shape }) => elementCount(shape));
  return split(value, sizes, 0).map((part, i) => reshape(part, (parameters[i] as Parameter).shape));
}
