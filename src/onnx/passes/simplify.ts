/** Arithmetic that changes nothing is left out: x·1, x/1, x + 0, x − 0 (seeds of gradients, scales that happen to be 1). */

import { sameShape } from "../../graph/dim.js";
import { type Graph, type Pass, rewriteGraph } from "../../graph/graph.js";
import { constantScalar } from "../../graph/leaves.js";
import type { Tensor } from "../../graph/tensor.js";

/** Operator → the constant that makes each operand the result: [when it is the left one, when it is the right one]. */
const neutral: Readonly<Record<string, readonly [left: number | undefined, right: number]>> = {
  add: [0, 0],
  sub: [undefined, 0],
  mul: [1, 1],
  div: [undefined, 1],
};

/** A scalar constant, seen through the expansion to a larger shape. */
const scalarBehind = (tensor: Tensor): number | undefined =>
  constantScalar(tensor.node.op.name === "expand" ? (tensor.node.inputs[0] as Tensor) : tensor);

export const simplify: Pass = (graph: Graph): Graph =>
  rewriteGraph(graph, (node, inputs) => {
    const constants = neutral[node.op.name];
    if (!constants) return undefined;
    const [a, b] = inputs as readonly [Tensor, Tensor];
    const { shape } = node.outputs[0] as Tensor;
    if (scalarBehind(b) === constants[1] && sameShape(a.shape, shape)) return [a];
    if (constants[0] !== undefined && scalarBehind(a) === constants[0] && sameShape(b.shape, shape)) return [b];
    return undefined;
  });
