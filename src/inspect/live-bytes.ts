/** How many bytes of values a graph needs at once, found by going through it as an engine does. */

import { type Atom, bindDim, type Dim, isStatic, type SymbolicDim } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import type { Node, Tensor } from "../graph/tensor.js";

/** Whether results are the same memory under another shape. */
const isView = ({ op: { traits } }: Node): boolean => traits.alias === true || traits.moves === "view";

/** Operators that engines compute in the memory of an operand of the same size which nobody needs any more. */
const inPlaceOperators = new Set([
  ...["add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "reciprocal", "sin", "cos", "tanh", "sigmoid", "relu"],
  ...["maximum", "minimum", "softmax", "where"],
]);

export interface LiveBytes {
  /** The most bytes that were alive at once, leaves and the kept values not counted. */
  readonly peak: number;
  /** Bytes alive when the last node that `boundary` counts as before it had run. */
  readonly atBoundary: number;
}

/**
 * Walks the nodes in their order. A value is alive from its node to its last reader; leaves (weights, feeds) and `kept` values
 * live elsewhere and do not count.
 *
 * @param boundary the node of this tensor is where `atBoundary` is taken
 * @param unknownSize what a size that only the data decides (rows of an expert) is taken to be
 */
export function liveBytes(
  graph: Graph,
  {
    kept,
    boundary,
    unknownSize,
  }: { readonly kept: ReadonlySet<Tensor>; readonly boundary?: Tensor; readonly unknownSize: number },
): LiveBytes {
  const nodes = nodesOf(graph.outputs.values()).filter(({ op }) => !op.leaf);
  const owners = storageOwners(nodes);
  const owner = (tensor: Tensor): Tensor => owners.get(tensor) ?? tensor;
  const keptStorage = new Set([...kept].map(owner));
  const counts = (storage: Tensor): boolean => !storage.node.op.leaf && !keptStorage.has(storage);
  const bytesOf = (tensor: Tensor): number =>
    tensor.shape.reduce<number>((bytes, dim) => bytes * sizeOf(dim, unknownSize), bytesPerElement(tensor.dtype));

  const lastReader = new Map<Tensor, Node>();
  for (const node of nodes) for (const input of node.inputs) lastReader.set(owner(input), node);
  const results = new Set([...graph.outputs.values()].map(owner));
  for (const result of results) lastReader.delete(result);

  let alive = 0;
  let peak = 0;
  let atBoundary = 0;
  for (const node of nodes) {
    const dying = [...new Set(node.inputs.map(owner))].filter((storage) => lastReader.get(storage) === node && counts(storage));
    const freed = dying.map(bytesOf);
    const made = node.outputs.filter((output) => owner(output) === output && counts(output)).map(bytesOf);
    const inPlace = made.length === 1 && inPlaceOperators.has(node.op.name) && freed.includes(made[0] as number);
    const total = made.reduce((a, b) => a + b, 0);
    peak = Math.max(peak, alive + (inPlace ? 0 : total));
    alive += total - freed.reduce((a, b) => a + b, 0);
    if (boundary && node.id <= boundary.node.id) atBoundary = alive;
    // What nobody reads is gone at once.
    for (const output of node.outputs)
      if (owner(output) === output && counts(output) && !lastReader.has(output) && !results.has(output)) alive -= bytesOf(output);
  }
  return { peak, atBoundary };
}

/** The tensor in whose memory a view lies. */
function storageOwners(nodes: readonly Node[]): ReadonlyMap<Tensor, Tensor> {
  const owners = new Map<Tensor, Tensor>();
  for (const node of nodes) {
    if (!isView(node)) continue;
    for (const [i, output] of node.outputs.entries()) {
      const input = node.inputs[i] as Tensor;
      owners.set(output, owners.get(input) ?? input);
    }
  }
  return owners;
}

/** A size; atoms that only the data decides count as `unknownSize`. */
function sizeOf(dim: Dim, unknownSize: number): number {
  if (isStatic(dim)) return dim;
  const bindings = new Map<Atom, number>();
  for (const { atoms } of (dim as SymbolicDim).terms) for (const atom of atoms) bindings.set(atom, unknownSize);
  return bindDim(dim, bindings);
}
