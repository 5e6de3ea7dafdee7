/** What the operators of a graph that are no matrix products read and write, as an engine does it. */

import { isStaticShape, sameShape } from "../src/graph/dim.js";
import { bytesPerElement } from "../src/graph/dtype.js";
import { type Graph, nodesOf } from "../src/graph/graph.js";
import { elementCount } from "../src/graph/host-array.js";
import { constantOp } from "../src/graph/leaves.js";
import type { Node, Tensor } from "../src/graph/tensor.js";
import type { EngineName } from "../src/inspect/index.js";
import { withoutPassThroughs } from "../src/inspect/planned-buffer.js";

/** Operators whose result is the same memory under another shape. */
const views = new Set(["reshape"]);

/** Operators that compute each element by itself: OpenVINO makes one kernel of those that follow each other ("Subgraph"). */
const elementwise = new Set([
  ...[
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "exp",
    "log",
    "sqrt",
    "reciprocal",
    "square",
    "maximum",
    "minimum",
    "where",
    "clamp",
  ],
  ...["sigmoid", "tanh", "relu", "silu", "gelu", "geluTanh", "sin", "cos", "waitFor", "cast"],
]);

/** Operators that read of their first operand only as much as they write. */
const partial = new Set(["slice", "gather", "takeAlong", "lateZero"]);

/**
 * Every operator reads its operands and writes its results once. With OpenVINO, elementwise operators of one shape are one operator
 * where the value between them has no other reader. What depends on constants alone is computed before.
 */
export function movedBytes(traced: Graph, engine: EngineName): number {
  const graph = withoutPassThroughs(traced);
  const nodes = movingNodes(graph, engine);
  const source = sourceOf(graph, engine);
  const results = new Set([...graph.outputs.values()].map(source));
  const readers = new Map<Tensor, Set<Node>>();
  for (const node of nodesOf(graph.outputs.values()))
    if (!isView(node, engine))
      for (const input of node.inputs) readers.set(source(input), (readers.get(source(input)) ?? new Set()).add(node));
  const hasOneReader = (tensor: Tensor): boolean => readers.get(tensor)?.size === 1 && !results.has(tensor);
  const kernels = engine === "openvino" ? fused(nodes, hasOneReader) : new Map(nodes.map((node) => [node, node]));
  const kernelOf = (node: Node): Node => kernels.get(node) ?? node;

  let bytes = 0;
  const read = new Map<Node, Set<Tensor>>();
  for (const node of nodes) {
    const kernel = kernelOf(node);
    const seen = read.get(kernel) ?? new Set();
    read.set(kernel, seen);
    for (const [i, input] of node.inputs.entries()) {
      const from = source(input);
      if (seen.has(from) || (kernels.has(from.node) && kernelOf(from.node) === kernel)) continue;
      seen.add(from);
      bytes += partial.has(node.op.name) && i === 0 ? bytesOf(node.outputs[0] as Tensor) : bytesOf(from);
    }
    for (const output of node.outputs) {
      const others = [...(readers.get(output) ?? [])].some((reader) => kernelOf(reader) !== kernel);
      if (others || results.has(output)) bytes += bytesOf(output);
    }
  }
  return bytes;
}

const isView = ({ op }: Node, engine: EngineName): boolean =>
  views.has(op.name) || (engine === "onnxruntime" && op.name === "waitFor");

/** Neither products nor views nor leaves, and not computed when the model is loaded. */
function movingNodes(graph: Graph, engine: EngineName): readonly Node[] {
  const constants = new Set<Node>();
  const moving: Node[] = [];
  for (const node of nodesOf(graph.outputs.values())) {
    const isKnown = ({ node: maker }: Tensor) => maker.op === constantOp || constants.has(maker);
    if (node.op.leaf) continue;
    if (node.inputs.every(isKnown) && node.outputs.every(({ shape }) => isStaticShape(shape))) constants.add(node);
    else if (node.op.name !== "matmul" && !isView(node, engine)) moving.push(node);
  }
  return moving;
}

/** The value whose memory a view shows. */
function sourceOf(graph: Graph, engine: EngineName): (tensor: Tensor) => Tensor {
  const sources = new Map<Tensor, Tensor>();
  for (const node of nodesOf(graph.outputs.values())) {
    const [input] = node.inputs;
    if (input && isView(node, engine)) for (const output of node.outputs) sources.set(output, sources.get(input) ?? input);
  }
  return (tensor) => sources.get(tensor) ?? tensor;
}

/** For each node the first of those with which it is one kernel. */
function fused(nodes: readonly Node[], hasOneReader: (tensor: Tensor) => boolean): ReadonlyMap<Node, Node> {
  const kernels = new Map<Node, Node>();
  for (const node of nodes) {
    const { shape } = node.outputs[0] as Tensor;
    const joins = (input: Tensor) =>
      kernels.has(input.node) && elementwise.has(input.node.op.name) && hasOneReader(input) && sameShape(input.shape, shape);
    const before = elementwise.has(node.op.name) ? node.inputs.find(joins) : undefined;
    kernels.set(node, before ? (kernels.get(before.node) as Node) : node);
  }
  return kernels;
}

const bytesOf = ({ dtype, shape }: Tensor): number => bytesPerElement(dtype) * elementCount(shape as readonly number[]);
