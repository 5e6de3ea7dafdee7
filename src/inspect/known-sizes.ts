/**
 * Which sizes ONNX Runtime knows before a model runs, as shape inference finds them. In a training step all are written down, except
 * behind a barrier, where a reshape whose sizes are computed makes all of a value's unknown until they are told again.
 */

import { isStatic } from "../graph/dim.js";
import type { Node, Tensor } from "../graph/tensor.js";

/** For each axis of a value. */
type KnownAxes = readonly boolean[];

/** @returns the results of the nodes all of whose sizes are known */
export function valuesOfKnownSize(order: readonly Node[]): ReadonlySet<Tensor> {
  /** Those that are not known whole. */
  const partly = new Map<Tensor, KnownAxes>();
  const axesOf = (tensor: Tensor): KnownAxes => partly.get(tensor) ?? tensor.shape.map(isStatic);
  const known = new Set<Tensor>();
  for (const node of order)
    for (const output of node.outputs) {
      const inferred = node.op.name === "waitFor" || node.inputs.some((input) => partly.has(input));
      const axes = inferred ? inferredAxes(node, output, axesOf) : output.shape.map(isStatic);
      if (axes.every(Boolean)) known.add(output);
      else partly.set(output, axes);
    }
  return known;
}

/** Of operators that are not named here the operands' last axes meet, as in arithmetic. */
function inferredAxes({ op, inputs, attributes }: Node, output: Tensor, axesOf: (tensor: Tensor) => KnownAxes): KnownAxes {
  const [first = output, second = first] = inputs;
  const { axis, axes, keepDims, permutation, transposeA, transposeB } = attributes as {
    readonly [name in "axis" | "axes" | "keepDims" | "permutation" | "transposeA" | "transposeB"]: unknown;
  };
  const all = (value: boolean): KnownAxes => output.shape.map(() => value);
  switch (op.name) {
    case "waitFor":
      return all(false);
    case "reshape":
    case "expand":
      return all(true);
    case "rope":
    case "rmsNorm":
    case "layerNorm":
      return axesOf(first);
    case "transpose":
      return (permutation as readonly number[]).map((from) => axesOf(first)[from] ?? false);
    case "matmul": {
      const rows = axesOf(first).at(transposeA ? -1 : -2) ?? false;
      const columns = axesOf(second).at(transposeB ? -2 : -1) ?? false;
      return [...meetingAxes(output.rank - 2, inputs, axesOf, 2), rows, columns];
    }
    case "concat":
      return meetingAxes(output.rank, inputs, axesOf).map((isKnown, i) =>
        i === axis ? inputs.every((input) => axesOf(input)[i]) : isKnown,
      );
    default: {
      if (!Array.isArray(axes)) return meetingAxes(output.rank, inputs, axesOf);
      const kept = axesOf(first).map((isKnown, i) => isKnown || axes.includes(i));
      return keepDims ? kept : kept.filter((_, i) => !axes.includes(i));
    }
  }
}

/**
 * A size other than 1 decides what an axis becomes, whatever it meets; that of 1 leaves it open.
 *
 * @param behind axes of the operands that do not take part, the last ones
 */
function meetingAxes(rank: number, inputs: readonly Tensor[], axesOf: (tensor: Tensor) => KnownAxes, behind = 0): KnownAxes {
  return Array.from({ length: rank }, (_, i) => {
    const meeting = inputs.flatMap((input) => {
      const at = input.rank - behind - rank + i;
      return at < 0 ? [] : [{ isKnown: axesOf(input)[at] as boolean, size: input.shape[at] }];
    });
    return meeting.some(({ isKnown, size }) => isKnown && size !== 1) || meeting.every(({ isKnown }) => isKnown);
  });
}
