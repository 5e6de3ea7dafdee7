/**
 * Elementwise operators broadcast by themselves: an operand that was expanded for them is used as it was before. Saves
 * writing and reading a tensor of the full size (gradients of means and sums begin that way).
 */

import { ShapeError } from "../../errors.js";
import { broadcastShapes, type Shape, sameShape } from "../../graph/dim.js";
import { type Graph, type Pass, rewriteGraph } from "../../graph/graph.js";
import { makeNode, type Tensor } from "../../graph/tensor.js";

export const broadcastInOperators: Pass = (graph: Graph): Graph =>
  rewriteGraph(graph, (node, inputs, sizes) => {
    if (!node.op.traits.elementwise) return undefined;
    const operands = [...inputs];
    for (const [i, operand] of operands.entries()) {
      if (operand.node.op.name !== "expand") continue;
      const [source] = operand.node.inputs as readonly [Tensor];
      const shapes = operands.map((other, k) => (k === i ? source.shape : other.shape));
      if (broadcastsTo(shapes, (node.outputs[0] as Tensor).shape)) operands[i] = source;
    }
    if (operands.every((operand, i) => operand === inputs[i])) return undefined;
    return makeNode(node.op, operands, node.attributes, node.outputs, node.scope, sizes).outputs;
  });

function broadcastsTo(shapes: readonly Shape[], target: Shape): boolean {
  try {
    return sameShape(broadcastShapes(...shapes), target);
  } catch (error) {
    if (error instanceof ShapeError) return false;
    throw error;
  }
}
