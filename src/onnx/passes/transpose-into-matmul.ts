/** A matmul reads an operand transposed by itself: a node that only swaps the last two axes before it is left out. */

import { type Graph, type Pass, rewriteGraph } from "../../graph/graph.js";
import { makeNode, type Tensor } from "../../graph/tensor.js";

export const transposeIntoMatmul: Pass = (graph: Graph): Graph =>
  rewriteGraph(graph, (node, inputs, sizes) => {
    if (node.op.name !== "matmul") return undefined;
    const [a, b] = inputs.map(untransposed) as [ReturnType<typeof untransposed>, ReturnType<typeof untransposed>];
    if (!a.swapped && !b.swapped) return undefined;
    const { transposeA, transposeB } = node.attributes as { readonly transposeA: boolean; readonly transposeB: boolean };
    const attributes = { ...node.attributes, transposeA: transposeA !== a.swapped, transposeB: transposeB !== b.swapped };
    return makeNode(node.op, [a.tensor, b.tensor], attributes, node.outputs, node.scope, sizes).outputs;
  });

function untransposed(tensor: Tensor): { readonly tensor: Tensor; readonly swapped: boolean } {
  const { op, attributes, inputs } = tensor.node;
  if (op.name !== "transpose") return { tensor, swapped: false };
  const permutation = attributes.permutation as readonly number[];
  const last = permutation.length - 1;
  const swapsLastTwo = permutation.every((axis, i) => axis === (i === last ? last - 1 : i === last - 1 ? last : i));
  return swapsLastTwo ? { tensor: inputs[0] as Tensor, swapped: true } : { tensor, swapped: false };
}
