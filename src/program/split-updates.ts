/**
 * A training program as two models: the first computes results and gradients, the second puts the new values of variables over the
 * old ones. Between the two it shows whether the step counts, so that nothing has to be kept in case that it does not: what a step
 * holds besides the state is its gradients, instead of a second buffer for every weight and moment.
 */

import { isStaticShape } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import { copyNodes, type Graph, nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { constantOp, input } from "../graph/leaves.js";
import type { Node, Tensor } from "../graph/tensor.js";
import type { ProgramGraph } from "./build.js";
import { inPieces, type Piece, pieceName } from "./pieces.js";

export interface SplitProgram {
  /** Results, updates that need a buffer of their own, and what the second model reads, under the names of `carried`. */
  readonly first: Graph;
  /** Inputs by the names that they have in the first model: feeds, variables, noise, and what was carried over; some in pieces. */
  readonly second: Graph;
  /** Inputs and outputs of the second model, and what they are written over, that are parts of larger tensors. */
  readonly pieces: ReadonlyMap<string, Piece>;
  /** Outputs of the first model that are inputs of the second. */
  readonly carried: ReadonlyMap<string, Tensor>;
  /** Outputs of the program that the second model makes. */
  readonly updates: readonly string[];
  /** Outputs of the second model → the inputs over which they are written. */
  readonly overwrites: ReadonlyMap<string, string>;
}

/** State from which new values are written over the old ones: what a second run takes is then small beside the rest. */
export const leastBytesInPlace = 2 ** 26;

/**
 * Splits off the updates that can be written in place: element by element, from the variable's old value, which nothing reads
 * afterwards. `undefined` where no memory would be saved.
 *
 * @param graph of the program, after the passes; its leaves are those of `program`
 * @param leastBytes state below which a second run is not worth its while
 * @param mostElements of which larger tensors are updated in pieces
 */
export function splitUpdates(
  program: Pick<ProgramGraph, "updates">,
  graph: Graph,
  { leastBytes, mostElements }: { readonly leastBytes: number; readonly mostElements: number },
): SplitProgram | undefined {
  const updates = new Map(
    [...program.updates].map(([name, variable]) => [name, { variable, value: graph.outputs.get(name) as Tensor }]),
  );
  const results = [...graph.outputs].filter(([name]) => !updates.has(name)).map(([, tensor]) => tensor);
  const all = nodesOf(graph.outputs.values());

  // What is no arithmetic of elements is computed first, and with it all that it is computed from.
  const first = new Set(nodesOf(results));
  const addFirst = (tensors: readonly Tensor[]) => {
    for (const node of nodesOf(tensors, (node) => first.has(node))) first.add(node);
  };
  for (const node of all) if (!isElementwise(node) && !first.has(node)) addFirst(node.outputs);
  const late = all.filter((node) => !node.op.leaf && !first.has(node));

  const readers = new Map<Tensor, Node[]>();
  for (const node of late) for (const tensor of node.inputs) readers.set(tensor, [...(readers.get(tensor) ?? []), node]);
  const written = new Set<Node>();
  const overwrites = new Map<string, string>();
  const inputNames = new Map([...graph.inputs].map(([name, tensor]) => [tensor, name]));
  let saved = 0;
  for (const [name, { variable, value }] of updates) {
    const old = inputNames.get(variable);
    const writer = value.node;
    if (old === undefined || first.has(writer) || writer.op.leaf || written.has(writer)) continue;
    const ancestors = new Set(nodesOf([value], (node) => first.has(node)));
    // Whoever reads the old value is done when the new one is written.
    if (!(readers.get(variable) ?? []).every((reader) => ancestors.has(reader))) continue;
    written.add(writer);
    overwrites.set(name, old);
    saved += byteLength(variable);
  }
  if (saved < leastBytes) return undefined;

  const values = [...overwrites.keys()].map((name) => graph.outputs.get(name) as Tensor);
  const moved = nodesOf(values, (node) => first.has(node)).filter((node) => !first.has(node) && !node.op.leaf);
  const isMoved = new Set(moved);
  const carried = new Map<string, Tensor>();
  const given = new Map<string, Tensor>();
  for (const tensor of new Set(moved.flatMap(({ inputs }) => inputs))) {
    if (isMoved.has(tensor.node) || tensor.node.op === constantOp) continue;
    const name = inputNames.get(tensor);
    if (name !== undefined) given.set(name, tensor);
    else carried.set(`carried:${carried.size}`, tensor);
  }
  let carriedBytes = 0;
  for (const tensor of carried.values())
    carriedBytes += isStaticShape(tensor.shape) ? byteLength(tensor) : Number.POSITIVE_INFINITY;
  if (carriedBytes >= saved) return undefined;

  const outputs = new Map([...[...graph.outputs].filter(([name]) => !overwrites.has(name)), ...carried]);
  const leaves = new Map([...carried].map(([name, { dtype, shape }]) => [name, input(name, dtype, shape)]));
  const copies = new Map([...carried].map(([name, tensor]) => [tensor, leaves.get(name) as Tensor]));
  copyNodes(moved, copies);
  const whole: Graph = {
    inputs: new Map([...given, ...leaves]),
    outputs: new Map([...overwrites.keys()].map((name, i) => [name, copies.get(values[i] as Tensor) ?? (values[i] as Tensor)])),
  };
  const { graph: second, pieces: cut } = inPieces(whole, mostElements);
  const pieces = new Map(cut);
  const overInputs = new Map(
    [...second.outputs.keys()].map((name) => {
      const piece = cut.get(name);
      const old = overwrites.get(piece?.whole ?? name) as string;
      if (!piece) return [name, old];
      // The old value need not be an input: an update may not read it.
      const part = pieceName(old, piece);
      pieces.set(part, { ...piece, whole: old });
      return [name, part];
    }),
  );
  return {
    first: { inputs: inputsOf(graph, outputs), outputs },
    second,
    pieces,
    carried,
    updates: [...overwrites.keys()],
    overwrites: overInputs,
  };
}

const isElementwise = ({ op, outputs }: Node): boolean =>
  op.leaf || (op.traits.elementwise === true && outputs.every(({ shape }) => isStaticShape(shape)));

const byteLength = ({ dtype, shape }: Tensor): number => bytesPerElement(dtype) * elementCount(shape as readonly number[]);

/** The inputs of a graph that some of its outputs need. */
function inputsOf(graph: Graph, outputs: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  const nodes = new Set(nodesOf(outputs.values()));
  return new Map([...graph.inputs].filter(([, tensor]) => nodes.has(tensor.node)));
}
