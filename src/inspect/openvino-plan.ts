/** Which values OpenVINO's CPU plugin holds, and when: each in a place of its own, from its node to its last reader. */

import { isStatic } from "../graph/dim.js";
import type { Graph } from "../graph/graph.js";
import type { Node, Tensor } from "../graph/tensor.js";
import {
  depthFirst,
  type MemoryPlan,
  type PlannedBuffer,
  tensorBytes,
  withoutConstants,
  withoutPassThroughs,
} from "./planned-buffer.js";

/** Operators that are computed in the memory of an operand of the same shape which nobody needs any more. */
const inPlaceOperators = new Set([
  ...["add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "reciprocal", "sin", "cos", "tanh", "sigmoid", "relu"],
  ...["square", "softmax"],
]);

/** @param unknownSize what a size that only the data decides (rows of an expert) is taken to be */
export function openVinoPlan(traced: Graph, unknownSize = 1): MemoryPlan {
  const graph = withoutPassThroughs(traced);
  const { order, constantBytes } = withoutConstants(openVinoOrder(graph), unknownSize);
  return { order, buffers: planBuffers(graph, order, unknownSize), constantBytes };
}

/** Depth first from the outputs, first operands first. */
export function openVinoOrder(graph: Graph): readonly Node[] {
  const ends = Array.from(graph.outputs.values(), ({ node }) => node);
  return depthFirst(ends.toReversed(), (operands) => operands.toReversed());
}

/** Leaves and outputs lie elsewhere. */
function planBuffers(graph: Graph, order: readonly Node[], unknownSize: number): readonly PlannedBuffer[] {
  const results = new Set(graph.outputs.values());
  const owners = new Map<Tensor, Tensor>();
  for (const { op, inputs, outputs } of order)
    if (op.traits.moves === "view")
      for (const output of outputs)
        if (!results.has(output)) owners.set(output, owners.get(inputs[0] as Tensor) ?? (inputs[0] as Tensor));
  const owner = (tensor: Tensor): Tensor => owners.get(tensor) ?? tensor;
  const lastReader = new Map<Tensor, number>();
  for (const [i, { inputs }] of order.entries()) for (const input of inputs) lastReader.set(owner(input), i);

  const planned: PlannedBuffer[] = [];
  const bufferOf = new Map<Tensor, PlannedBuffer>();
  for (const [i, { op, inputs, outputs }] of order.entries())
    for (const output of outputs) {
      if (owner(output) !== output || results.has(output)) continue;
      const dying = (tensor: Tensor) => lastReader.get(tensor) === i && (bufferOf.get(tensor)?.last ?? i + 1) <= i;
      const inPlace = inPlaceOperators.has(op.name)
        ? inputs.map(owner).find((tensor) => dying(tensor) && keyOf(tensor) === keyOf(output))
        : undefined;
      const buffer = (inPlace && bufferOf.get(inPlace)) ?? { bytes: tensorBytes(output, unknownSize), first: i, last: i };
      if (!inPlace) planned.push(buffer);
      buffer.last = Math.max(buffer.last, lastReader.get(output) ?? i);
      bufferOf.set(output, buffer);
    }
  return planned;
}

const keyOf = ({ dtype, shape }: Tensor): string => `${dtype}[${shape.map((dim) => (isStatic(dim) ? dim : dim.key)).join()}]`;
