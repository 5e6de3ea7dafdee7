/**
 * Passes that keep values from living longer than they must. OpenVINO's CPU plugin orders operators by depth-first search from
 * the outputs, first operands first, and joins elementwise operators that read the same values into one, wherever they stand.
 */

import { barrier } from "../../graph/barrier.js";
import { isStaticShape, sameShape } from "../../graph/dim.js";
import { type Graph, nodesOf, type Pass, rewriteGraph } from "../../graph/graph.js";
import { elementCount } from "../../graph/host-array.js";
import { makeNode, type Node, type Tensor } from "../../graph/tensor.js";

/**
 * Scalars before tensors, and sums of scalars the other way round. The norm of all gradients and the updates that wait for it
 * are written for an engine that computes last operands first (`optim/optimizer.ts`): so each gradient is made as soon as it
 * can be made, and what it is made from can be forgotten.
 */
export const scalarsFirst: Pass = (graph: Graph): Graph =>
  rewriteGraph(graph, ({ op, outputs, attributes, scope }, inputs, sizes) => {
    const commutes = op.name === "add" || op.name === "mul";
    if (!commutes || inputs[1]?.rank !== 0) return undefined;
    return makeNode(op, inputs.toReversed(), attributes, outputs, scope, sizes).outputs;
  });

/** Elements from which memory counts: 4 MB in float32. */
const WIDE = 2 ** 20;

/**
 * What a normalization's gradient computes from its input, x · factor, waits for the gradient. It was joined with the forward
 * pass, and kept in float32 until then: 134 MB of a step of 29 M parameters. Small ones do not: waiting takes 2 to 3 % of a step of
 * 800,000 parameters.
 */
export const lateNormalization = (graph: Graph, wide = WIDE): Graph => {
  const isWide = ({ shape }: Tensor): boolean => !isStaticShape(shape) || elementCount(shape) >= wide;
  const normalized = new Set(
    nodesOf(graph.outputs.values())
      .filter(isNormalized)
      .flatMap(({ outputs }) => outputs)
      .filter(isWide),
  );
  const late = new Map<Tensor, Tensor>();
  return rewriteGraph(graph, (node, inputs, sizes) => {
    const at = node.inputs.findIndex((input) => normalized.has(input));
    if (at < 0 || node.op.name !== "mul") return undefined;
    const [original, other] = [node.inputs[at] as Tensor, inputs[1 - at] as Tensor];
    // The first to read it multiplies it by the gradient; the others come later.
    const after = sameShape(other.shape, original.shape) ? other : undefined;
    const replacement = late.get(original) ?? (after && lateCopy(inputs[at] as Tensor, after));
    if (!replacement) return undefined;
    late.set(original, replacement);
    return makeNode(node.op, inputs.with(at, replacement), node.attributes, node.outputs, node.scope, sizes).outputs;
  });
};

function isNormalized({ op, inputs: [x, factor] }: Node): boolean {
  const norm = factor?.node;
  return op.name === "mul" && norm?.op.name === "rmsNorm" && factor?.index === 1 && x === norm.inputs[0];
}

function lateCopy({ node: { op, inputs, attributes, outputs, scope } }: Tensor, after: Tensor): Tensor {
  const [x, factor] = inputs as readonly [Tensor, Tensor];
  return makeNode(op, [barrier(x, after), factor], attributes, outputs, scope).outputs[0] as Tensor;
}
