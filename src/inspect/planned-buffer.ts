/** What the plans of engines have in common. */

import { isStatic, isStaticShape } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import { type Graph, rewriteGraph } from "../graph/graph.js";
import { constantOp } from "../graph/leaves.js";
import { dependenciesOf, makeNode, type Node, type Tensor } from "../graph/tensor.js";
import { passesThrough } from "../onnx/passes/precision-plan.js";

/** Where an engine puts the values of a graph, and when. */
export interface MemoryPlan {
  /** Nodes in the order in which they run. */
  readonly order: readonly Node[];
  readonly buffers: readonly PlannedBuffer[];
  /** What is computed from constants alone, once, when the model is loaded, and then kept: masks, tables of angles. */
  readonly constantBytes: number;
}

/** A piece of memory, from the node that first writes it to the last that reads it. */
export interface PlannedBuffer {
  readonly bytes: number;
  readonly first: number;
  last: number;
}

/** @param unknownSize what a size that only the data decides is taken to be */
export const tensorBytes = ({ dtype, shape }: Tensor, unknownSize: number): number =>
  shape.reduce<number>((bytes, dim) => bytes * (isStatic(dim) ? dim : unknownSize), bytesPerElement(dtype));

/** The graph without operators of which nothing is left in a model; all others anew, in the same order. */
export const withoutPassThroughs = (graph: Graph): Graph =>
  rewriteGraph(graph, (node, inputs, sizes) => {
    const { op, outputs, attributes, scope } = node;
    if (op.leaf) return undefined;
    if (passesThrough(node)) return inputs.slice(0, outputs.length);
    return makeNode(op, inputs, attributes, outputs, scope, sizes).outputs;
  });

/**
 * Every node behind its operands, leaves left out. Of the nodes at the ends, and of a node's operands as `arrange` has them, the
 * last comes first.
 */
export function depthFirst(ends: readonly Node[], arrange: (operands: readonly Node[]) => readonly Node[]): readonly Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const pending = ends.map((node) => ({ node, ready: false }));
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { node, ready } = next;
    if (ready) order.push(node);
    if (ready || seen.has(node)) continue;
    seen.add(node);
    pending.push({ node, ready: true });
    pending.push(...arrange(dependenciesOf(node).map((input) => input.node)).map((operand) => ({ node: operand, ready: false })));
  }
  return order.filter(({ op }) => !op.leaf);
}

/** Nodes of an order without those that read constants alone, and the bytes of these that others read. */
export function withoutConstants(
  order: readonly Node[],
  unknownSize: number,
): { readonly order: readonly Node[]; readonly constantBytes: number } {
  const constants = new Set<Node>();
  const isConstant = ({ node }: Tensor): boolean => node.op === constantOp || constants.has(node);
  for (const node of order)
    if (node.inputs.every(isConstant) && node.outputs.every(({ shape }) => isStaticShape(shape))) constants.add(node);
  const computed = order.filter((node) => !constants.has(node));
  const kept = new Set(computed.flatMap(({ inputs }) => inputs.filter(({ node }) => constants.has(node))));
  return { order: computed, constantBytes: [...kept].reduce((total, tensor) => total + tensorBytes(tensor, unknownSize), 0) };
}

/** The most bytes that are held at once. */
export function peakBytes(buffers: readonly PlannedBuffer[], steps: number): number {
  const changes = new Float64Array(steps + 1);
  for (const { bytes, first, last } of buffers) {
    changes[first] = (changes[first] as number) + bytes;
    changes[last + 1] = (changes[last + 1] as number) - bytes;
  }
  let held = 0;
  let peak = 0;
  for (const change of changes) {
    held += change;
    peak = Math.max(peak, held);
  }
  return peak;
}
