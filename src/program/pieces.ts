/**
 * Arithmetic of elements, piece by piece: what it takes between its operands and its results then is a few buffers of a piece's
 * size, however large the operands are.
 */

import { copyNodes, type Graph, nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { makeNode, type Node, type Tensor } from "../graph/tensor.js";

/** Elements from `start` on of what is called `whole`. */
export interface Piece {
  readonly whole: string;
  readonly start: number;
  readonly count: number;
}

export const pieceName = (whole: string, { start }: Pick<Piece, "start">): string => `${whole}@${start}`;

export interface GraphInPieces {
  readonly graph: Graph;
  /** Inputs and outputs of the graph that are pieces, by name; the others are as they were. */
  readonly pieces: ReadonlyMap<string, Piece>;
}

/**
 * Cuts all that is computed together, where it has one shape throughout (scalars aside) and more elements than a piece may.
 *
 * @param graph of operators that work element by element, with known sizes
 */
export function inPieces(graph: Graph, most: number): GraphInPieces {
  const names = new Map([...graph.inputs].map(([name, tensor]) => [tensor, name]));
  const nodes = nodesOf(graph.outputs.values()).filter(({ op }) => !op.leaf);
  const inputs = new Map<string, Tensor>();
  const outputs = new Map<string, Tensor>();
  const pieces = new Map<string, Piece>();
  const copied = new Set<Node>();
  for (const group of connected(nodes)) {
    const [size, ...others] = new Set(
      [...group]
        .flatMap((node) => [...node.inputs, ...node.outputs])
        .filter((tensor) => !isScalar(tensor))
        .map(sizeOf),
    );
    const count = size === undefined ? 0 : elementCount(size.split(",").map(Number));
    const given = [...new Set([...group].flatMap((node) => node.inputs))].filter(
      (tensor) => !isScalar(tensor) && !group.has(tensor.node),
    );
    if (others.length > 0 || count <= most || !given.every((tensor) => names.has(tensor))) continue;
    for (const node of group) copied.add(node);
    for (let start = 0; start < count; start += most) {
      const length = Math.min(most, count - start);
      const replacement = new Map<Tensor, Tensor>();
      const pieceOf = (whole: string) => {
        const name = pieceName(whole, { start });
        pieces.set(name, { whole, start, count: length });
        return name;
      };
      for (const tensor of given) {
        const name = pieceOf(names.get(tensor) as string);
        const leaf = input(name, tensor.dtype, [length]);
        inputs.set(name, leaf);
        replacement.set(tensor, leaf);
      }
      copyNodes([...group], replacement, (node, operands) => {
        const types = node.outputs.map(({ dtype, ...tensor }) => ({ dtype, shape: isScalar(tensor) ? tensor.shape : [length] }));
        return makeNode(node.op, operands, node.attributes, types, node.scope).outputs;
      });
      for (const [name, tensor] of graph.outputs)
        if (group.has(tensor.node)) outputs.set(pieceOf(name), replacement.get(tensor) as Tensor);
    }
  }
  for (const [name, tensor] of graph.outputs) if (!copied.has(tensor.node)) outputs.set(name, tensor);
  const left = new Set(nodesOf(outputs.values()));
  for (const [name, tensor] of graph.inputs) if (left.has(tensor.node)) inputs.set(name, tensor);
  return { graph: { inputs, outputs }, pieces };
}

/** What broadcasts with a vector of any length. */
const isScalar = ({ shape }: Pick<Tensor, "shape">): boolean => shape.length === 0 || (shape.length === 1 && shape[0] === 1);
const sizeOf = ({ shape }: Tensor): string => shape.join();

/** Nodes that have to do with each other through tensors that are no scalars, in topological order; those of scalars alone are in no group. */
function connected(nodes: readonly Node[]): readonly ReadonlySet<Node>[] {
  const groupOf = new Map<Tensor, Set<Node>>();
  for (const node of nodes) {
    const tensors = [...node.inputs, ...node.outputs].filter((tensor) => !isScalar(tensor));
    if (tensors.length === 0) continue;
    const groups = new Set(tensors.flatMap((tensor) => groupOf.get(tensor) ?? []));
    const [joined = new Set<Node>(), ...others] = groups;
    for (const other of others) for (const member of other) joined.add(member);
    joined.add(node);
    for (const member of others.length > 0 ? joined : [node])
      for (const tensor of [...member.inputs, ...member.outputs]) if (!isScalar(tensor)) groupOf.set(tensor, joined);
  }
  return [...new Set(groupOf.values())].map((group) => new Set([...group].sort((a, b) => a.id - b.id)));
}
