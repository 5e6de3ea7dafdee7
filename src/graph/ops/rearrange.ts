/**
 * Rearranging with named axes (Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations with Einstein-like notation").
 *
 * A pattern says how the axes of x are called and where they go: `"b t (h d) -> b h t d"`. Brackets on the left split an axis,
 * on the right they join several into one, the leftmost varying slowest. `1` is an axis of size 1, `...` stands for any number
 * of axes. Of the sizes within a bracket on the left all but one must be given. Sizes may be symbolic.
 */

import { ArgumentError, ShapeError } from "../../errors.js";
import { type Dim, divideExactly, formatShape, isStatic, productOf, type Shape, sameDim } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { broadcastTo } from "./broadcasting.js";
import { type Axis, type Pattern, parsePattern, patternError } from "./rearrange-pattern.js";
import { max, mean, min, prod, sum } from "./reduce.js";
import { reshape, transpose } from "./shape.js";

/** Sizes of axes by name, where the pattern and the shape of x do not tell them. */
export type AxisSizes = Readonly<Record<string, Dim>>;

/** x with its axes in another order, split and joined; every name stands on both sides. `rearrange(x, "b t (h d) -> b h t d", { h })` */
export function rearrange(x: Tensor, pattern: string, sizes: AxisSizes = {}): Tensor {
  const parsed = parsePattern("rearrange", pattern, x.rank);
  const { left, right } = parsed;
  requireAxes(parsed, left, right, "stands on the left only; rearrange keeps every axis (reduce removes some)");
  requireAxes(parsed, right, left, "stands on the right only; rearrange makes no new axes (repeat does)");
  return join(parsed, splitAxes(parsed, x, sizes), left.flat());
}

const reductions = { sum, mean, max, min, prod };

/** x reduced over the axes that stand on the left only. `reduce(x, "b t d -> b d", "mean")` */
export function reduce(x: Tensor, pattern: string, reduction: keyof typeof reductions, sizes: AxisSizes = {}): Tensor {
  if (!Object.hasOwn(reductions, reduction))
    throw new ArgumentError(`reduce: '${reduction}' is not one of ${Object.keys(reductions).join(", ")}.`);
  const parsed = parsePattern("reduce", pattern, x.rank);
  requireAxes(parsed, parsed.right, parsed.left, "stands on the right only; reduce makes no new axes (repeat does)");
  const kept = new Set(parsed.right.flat().map(({ name }) => name));
  const elementary = parsed.left.flat();
  const axes = elementary.flatMap(({ name }, axis) => (kept.has(name) ? [] : [axis]));
  const split = splitAxes(parsed, x, sizes);
  return join(
    parsed,
    axes.length === 0 ? split : reductions[reduction](split, { axes }),
    elementary.filter(({ name }) => kept.has(name)),
  );
}

/** x repeated along axes that stand on the right only, whose sizes are given. `repeat(x, "b d -> b t d", { t })` */
export function repeat(x: Tensor, pattern: string, sizes: AxisSizes = {}): Tensor {
  const parsed = parsePattern("repeat", pattern, x.rank);
  const { left, right } = parsed;
  requireAxes(parsed, left, right, "stands on the left only; repeat keeps every axis (reduce removes some)");
  const known = new Set(left.flat().map(({ name }) => name));
  const added = right.flat().filter(({ name }) => !known.has(name));
  const split = splitAxes(parsed, x, sizes);
  const shape = added.map((axis) => {
    const size = axis.size ?? sizes[axis.name];
    if (size === undefined) throw patternError(parsed, axis.position, `the size of the new axis '${axis.name}' must be given`);
    return size;
  });
  return join(parsed, broadcastTo(split, [...shape, ...split.shape]), [...added, ...left.flat()]);
}

/** Throws when an axis of one side is missing on the other. Axes of size 1 come and go. */
function requireAxes(
  pattern: Pattern,
  from: readonly (readonly Axis[])[],
  to: readonly (readonly Axis[])[],
  problem: string,
): void {
  const present = new Set(to.flat().map(({ name }) => name));
  for (const axis of from.flat())
    if (!present.has(axis.name)) throw patternError(pattern, axis.position, `the axis '${axis.text}' ${problem}`);
}

/** x with one axis for each name on the left. */
function splitAxes(pattern: Pattern, x: Tensor, sizes: AxisSizes): Tensor {
  checkSizes(pattern, sizes);
  return reshape(
    x,
    pattern.left.flatMap((group, axis) => groupSizes(pattern, group, x.shape, axis, sizes)),
  );
}

function checkSizes(pattern: Pattern, sizes: AxisSizes): void {
  const names = new Set([...pattern.left, ...pattern.right].flat().map(({ name }) => name));
  for (const [name, size] of Object.entries(sizes)) {
    if (!names.has(name)) throw patternError(pattern, 0, `a size is given for '${name}', which is not an axis of the pattern`);
    if (isStatic(size) && (!Number.isInteger(size) || size < 0))
      throw new ArgumentError(`${pattern.operator}: the size of '${name}' must be a whole number from 0, but ${size} was given.`);
  }
}

/** The sizes of the named axes that one axis of x consists of; one of them may have to be found by division. */
function groupSizes(pattern: Pattern, group: readonly Axis[], shape: Shape, axis: number, sizes: AxisSizes): readonly Dim[] {
  const total = shape[axis] as Dim;
  const given = group.map(({ name, size }) => size ?? sizes[name]);
  const [unknown, second] = group.filter((_, i) => given[i] === undefined);
  const position = group[0]?.position ?? pattern.groupPositions[axis] ?? 0;
  if (second)
    throw patternError(
      pattern,
      second.position,
      `the sizes of '${unknown?.name}' and '${second.name}' are both unknown; give one`,
    );
  const product = productOf(given.filter((size) => size !== undefined));
  if (!unknown) {
    if (!sameDim(product, total))
      throw patternError(
        pattern,
        position,
        `axis ${axis} of ${formatShape(shape)} has ${String(total)} elements, but the pattern says ${String(product)}`,
        ShapeError,
      );
    return given as Dim[];
  }
  const rest = product === 0 ? undefined : divideExactly(total, product);
  if (rest === undefined)
    throw patternError(
      pattern,
      unknown.position,
      `axis ${axis} of ${formatShape(shape)} has ${String(total)} elements, which does not divide by ${String(product)}`,
      ShapeError,
    );
  return given.map((size) => size ?? rest);
}

/** From one axis for each of `current` to the groups on the right. */
function join({ right }: Pattern, x: Tensor, current: readonly Axis[]): Tensor {
  const names = current.map(({ name }) => name);
  const order = right.map((group) => group.map(({ name }) => names.indexOf(name)));
  return reshape(
    transpose(x, order.flat()),
    order.map((axes) => productOf(axes.map((axis) => x.shape[axis] as Dim))),
  );
}
