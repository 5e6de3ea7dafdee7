/** A graph is what its outputs need: nodes found by walking back from them, sorted by id, which is topological order. */

import type { Node, Tensor } from "./tensor.js";
import { dependenciesOf, makeNode } from "./tensor.js";

export interface Graph {
  /** Leaves that are given when the graph runs: feeds, variables, noise. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** A pass: a pure function that gives back an equivalent graph. */
export type Pass = (graph: Graph) => Graph;

/** All nodes that the tensors depend on, inputs before users. Nodes in `stop` are included, what lies behind them is not. */
export function nodesOf(tensors: Iterable<Tensor>, stop: (node: Node) => boolean = () => false): readonly Node[] {
  const seen = new Set<Node>();
  const pending = Array.from(tensors, (tensor) => tensor.node);
  for (let node = pending.pop(); node; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    if (!stop(node)) for (const input of dependenciesOf(node)) pending.push(input.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/** How many times each tensor is read by the nodes, with program outputs counted as readers. */
export function countUses(nodes: readonly Node[], outputs: Iterable<Tensor>): ReadonlyMap<Tensor, number> {
  const uses = new Map<Tensor, number>();
  const count = (tensor: Tensor) => uses.set(tensor, (uses.get(tensor) ?? 0) + 1);
  for (const node of nodes) dependenciesOf(node).forEach(count);
  for (const output of outputs) count(output);
  return uses;
}

/**
 * What a rewriting puts in place of a node's outputs; `undefined` keeps the node. `inputs` and `sizes` are already rewritten: a
 * node that takes the place gets both.
 */
export type Rewrite = (node: Node, inputs: readonly Tensor[], sizes: readonly Tensor[]) => readonly Tensor[] | undefined;

/** Rebuilds a graph from its leaves up. Leaves stay the same objects; a node whose inputs did not change stays too. */
export function rewriteGraph(graph: Graph, rewrite: Rewrite): Graph {
  const replacement = new Map<Tensor, Tensor>();
  copyNodes(nodesOf(graph.outputs.values()), replacement, rewrite);
  return {
    inputs: graph.inputs,
    outputs: new Map([...graph.outputs].map(([name, tensor]) => [name, replacement.get(tensor) ?? tensor])),
  };
}

/**
 * Copies nodes (in topological order) on top of the values that `replacement` already holds, and adds theirs to it.
 * A node all of whose inputs are unchanged is not copied.
 */
export function copyNodes(nodes: readonly Node[], replacement: Map<Tensor, Tensor>, rewrite: Rewrite = () => undefined): void {
  for (const node of nodes) {
    if (node.outputs.some((output) => replacement.has(output))) continue;
    const replaced = (tensor: Tensor): Tensor => replacement.get(tensor) ?? tensor;
    const inputs = node.inputs.map(replaced);
    const sizes = node.sizes.map(replaced);
    let outputs = rewrite(node, inputs, sizes);
    if (!outputs) {
      if (isUnchanged(node, inputs, sizes)) continue;
      outputs = makeNode(node.op, inputs, node.attributes, node.outputs, node.scope, sizes).outputs;
    }
    for (const [i, output] of node.outputs.entries()) replacement.set(output, outputs[i] as Tensor);
  }
}

/** Whether a node has these operands and sizes already. */
export const isUnchanged = (node: Node, inputs: readonly Tensor[], sizes: readonly Tensor[]): boolean =>
  inputs.length === node.inputs.length &&
  inputs.every((tensor, i) => tensor === node.inputs[i]) &&
  sizes.every((tensor, i) => tensor === node.sizes[i]);
