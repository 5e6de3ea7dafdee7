/** Computes equal things once: nodes of the same operator with the same inputs and attributes become one. */

import { SymbolicDim } from "../../graph/dim.js";
import { type Graph, isUnchanged, type Pass, rewriteGraph } from "../../graph/graph.js";
import type { HostArray } from "../../graph/host-array.js";
import { constantOp } from "../../graph/leaves.js";
import { makeNode, Tensor } from "../../graph/tensor.js";

/** Constants with more elements than this are not compared. */
const LARGE_CONSTANT = 64;

export const commonSubexpressions: Pass = (graph: Graph): Graph => {
  const known = new Map<string, readonly Tensor[]>();
  const numbers = new Map<Tensor, number>();
  const numberOf = (tensor: Tensor): number => {
    const number = numbers.get(tensor) ?? numbers.size;
    numbers.set(tensor, number);
    return number;
  };

  return rewriteGraph(graph, (node, inputs, sizes) => {
    if (node.op === constantOp) {
      const value = node.attributes.value as HostArray;
      if (value.data.length > LARGE_CONSTANT) return undefined;
      const key = `constant ${value.dtype}[${value.shape.join()}] ${Array.from(value.data as ArrayLike<number | bigint>, textOf).join()}`;
      const same = known.get(key) ?? node.outputs;
      known.set(key, same);
      return same;
    }
    if (node.op.leaf) return undefined;
    const attributes = keyOf(node.attributes);
    if (attributes === undefined) return undefined;
    // Shapes too: two `nonZero` of one operand are not alike, each has made a size of its own.
    const shapes = node.outputs.map(({ shape }) => keyOf(shape)).join();
    const key = `${node.op.name}(${inputs.map(numberOf).join()})${attributes}${shapes}`;
    const same = known.get(key);
    if (same) return same;
    const outputs = isUnchanged(node, inputs, sizes)
      ? node.outputs
      : makeNode(node.op, inputs, node.attributes, node.outputs, node.scope, sizes).outputs;
    known.set(key, outputs);
    return outputs;
  });
};

/** Tells −0 from 0: they are equal, but what is divided by them is not. */
const textOf = (value: unknown): string => (Object.is(value, -0) ? "-0" : String(value));

/** Attributes as text; `undefined` when they hold something that has no text, such as a body or a function. */
function keyOf(value: unknown): string | undefined {
  if (value instanceof SymbolicDim) return `dim ${value.key}`;
  if (
    value === null ||
    value === undefined ||
    typeof value === "number" ||
    typeof value === "string" ||
    typeof value === "boolean"
  )
    return `${typeof value} ${textOf(value)}`;
  if (Array.isArray(value)) {
    const parts = value.map(keyOf);
    return parts.includes(undefined) ? undefined : `[${parts.join(";")}]`;
  }
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype && !(value instanceof Tensor)) {
    const parts = Object.entries(value).map(([key, part]) => {
      const text = keyOf(part);
      return text === undefined ? undefined : `${key}:${text}`;
    });
    return parts.includes(undefined) ? undefined : `{${parts.join(";")}}`;
  }
  return undefined;
}
