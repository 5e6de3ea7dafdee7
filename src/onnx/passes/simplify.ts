/** Arithmetic that changes nothing is left out: x·1, x/1, x + 0, x − 0 (seeds of gradients, scales that happen to be 1). */

import { sameShape } from "../../graph/dim.js";
import { type Graph, type Pass, rewriteGraph } from "../../graph/graph.js";
import { uniformValue } from "../../graph/leaves.js";
import type { Tensor } from "../../graph/tensor.js";

export const simplify: Pass = (graph: Graph): Graph =>
  rewriteGraph(graph, (node, inputs) => {
    const { neutral } = node.op.traits;
    if (!neutral) return undefined;
    const [a, b] = inputs as readonly [Tensor, Tensor];
    const { shape } = node.outputs[0] as Tensor;
    if (uniformValue(b) === neutral.right && sameShape(a.shape, shape)) return [a];
    if (neutral.left !== undefined && uniformValue(a) === neutral.left && sameShape(b.shape, shape)) return [b];
    return undefined;
  });
