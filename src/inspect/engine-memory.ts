/**
 * How much memory an engine holds while it runs a graph. That is more than what is alive: ONNX Runtime lets values of equal shape
 * share buffers that it keeps in between, and takes them from an arena that never shrinks. Both are gone through here as it does it.
 */

import { isStatic } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import type { Node, Tensor } from "../graph/tensor.js";
import { Arena } from "./arena.js";

export type EngineName = "onnxruntime" | "openvino";
export const engineNames: readonly EngineName[] = ["onnxruntime", "openvino"];

export interface EngineMemory {
  /** Values between the inputs and the outputs of the graph, as the engine lays them out. */
  readonly workingBytes: number;
  /** Node, the engine and the compiled program: what the process holds where tensors are tiny. */
  readonly programBytes: number;
}

/**
 * Resident bytes of the process with an engine, and what a compiled training step adds for each node (operators that wait, their
 * names, code generated for them): measured on Linux with Node 20, with models of a few thousand parameters. With models of 13 to 16
 * million, processes hold 30 MB (ONNX Runtime) and 80 MB (OpenVINO) more, whatever the batch: that is in `processBytes` too.
 */
const programCosts: Readonly<Record<EngineName, { readonly processBytes: number; readonly nodeBytes: number }>> = {
  onnxruntime: { processBytes: 200e6, nodeBytes: 10e3 },
  openvino: { processBytes: 280e6, nodeBytes: 65e3 },
};

/** Operators whose result is the same memory under another shape. */
const views = new Set(["reshape", "waitFor", "passThrough", "stopGradient"]);

/** Operators that engines compute in the memory of an operand of the same shape which nobody needs any more. */
const inPlaceOperators = new Set([
  ...["add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "reciprocal", "sin", "cos", "tanh", "sigmoid", "relu"],
  ...["square", "softmax"],
]);

/** A piece of memory, from the node that first writes it to the last that reads it. */
export interface PlannedBuffer {
  readonly bytes: number;
  readonly first: number;
  last: number;
}

/**
 * @param graph as the engine gets it: after the general passes and its own
 * @param unknownSize what a size that only the data decides (rows of an expert) is taken to be
 */
export function engineMemory(graph: Graph, engine: EngineName, unknownSize = 1): EngineMemory {
  const order = engine === "onnxruntime" ? onnxRuntimeOrder(graph) : openVinoOrder(graph);
  const buffers = planBuffers(graph, order, { reuse: engine === "onnxruntime", unknownSize });
  const { processBytes, nodeBytes } = programCosts[engine];
  return {
    workingBytes: engine === "onnxruntime" ? arenaBytes(buffers, order.length) : peakBytes(buffers, order.length),
    programBytes: processBytes + order.length * nodeBytes,
  };
}

/** ONNX Runtime: depth first from the outputs, the last first; of a node's operands the one that was made last comes first. */
export function onnxRuntimeOrder(graph: Graph): readonly Node[] {
  const nodes = nodesOf(graph.outputs.values());
  const read = new Set(nodes.flatMap(({ inputs }) => inputs.map(({ node }) => node)));
  const ends = nodes.filter((node) => !read.has(node));
  return depthFirst(ends, (operands) => [...operands].sort((a, b) => a.id - b.id));
}

/** OpenVINO's CPU plugin: depth first from the outputs, first operands first. */
export function openVinoOrder(graph: Graph): readonly Node[] {
  const ends = Array.from(graph.outputs.values(), ({ node }) => node);
  return depthFirst(ends.toReversed(), (operands) => operands.toReversed());
}

/** Every node behind its operands. Of the nodes at the ends, and of a node's operands as `arrange` has them, the last comes first. */
function depthFirst(ends: readonly Node[], arrange: (operands: readonly Node[]) => readonly Node[]): readonly Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const pending = ends.map((node) => ({ node, ready: false }));
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { node, ready } = next;
    if (ready) order.push(node);
    if (ready || seen.has(node)) continue;
    seen.add(node);
    pending.push({ node, ready: true });
    pending.push(...arrange(node.inputs.map((input) => input.node)).map((operand) => ({ node: operand, ready: false })));
  }
  return order.filter(({ op }) => !op.leaf);
}

/**
 * Which values lie in which memory. With `reuse`, a value takes the buffer of a dead one of the same shape if there is one, the
 * latest first, and the buffer is held from the first of its values to the last. Leaves and outputs lie elsewhere.
 */
export function planBuffers(
  graph: Graph,
  order: readonly Node[],
  { reuse, unknownSize }: { readonly reuse: boolean; readonly unknownSize: number },
): readonly PlannedBuffer[] {
  const results = new Set(graph.outputs.values());
  const owners = new Map<Tensor, Tensor>();
  for (const { op, inputs, outputs } of order)
    if (views.has(op.name))
      for (const output of outputs)
        if (!results.has(output)) owners.set(output, owners.get(inputs[0] as Tensor) ?? (inputs[0] as Tensor));
  const owner = (tensor: Tensor): Tensor => owners.get(tensor) ?? tensor;
  const lastReader = new Map<Tensor, number>();
  for (const [i, { inputs }] of order.entries()) for (const input of inputs) lastReader.set(owner(input), i);

  const planned: PlannedBuffer[] = [];
  const bufferOf = new Map<Tensor, PlannedBuffer>();
  const free: { readonly key: string; readonly buffer: PlannedBuffer }[] = [];
  for (const [i, { op, inputs, outputs }] of order.entries()) {
    const dying = [...new Set(inputs.map(owner))].filter((tensor) => bufferOf.has(tensor) && lastReader.get(tensor) === i);
    for (const output of outputs) {
      if (owner(output) !== output || results.has(output)) continue;
      const key = keyOf(output);
      const inPlace = inPlaceOperators.has(op.name)
        ? dying.find((tensor) => keyOf(tensor) === key && (bufferOf.get(tensor) as PlannedBuffer).last <= i)
        : undefined;
      const at = inPlace || !reuse ? -1 : free.findIndex((entry) => entry.key === key);
      const found = inPlace ? bufferOf.get(inPlace) : at < 0 ? undefined : free.splice(at, 1)[0]?.buffer;
      const buffer: PlannedBuffer = found ?? { bytes: bytesOf(output, unknownSize), first: i, last: i };
      if (!found) planned.push(buffer);
      buffer.last = Math.max(buffer.last, lastReader.get(output) ?? i);
      bufferOf.set(output, buffer);
    }
    for (const tensor of [...dying, ...outputs.filter((output) => !lastReader.has(output))]) {
      const buffer = bufferOf.get(tensor);
      if (buffer && buffer.last <= i) free.unshift({ key: keyOf(tensor), buffer });
    }
  }
  return planned;
}

const keyOf = ({ dtype, shape }: Tensor): string => `${dtype}[${shape.map((dim) => (isStatic(dim) ? dim : dim.key)).join()}]`;

const bytesOf = ({ dtype, shape }: Tensor, unknownSize: number): number =>
  shape.reduce<number>((bytes, dim) => bytes * (isStatic(dim) ? dim : unknownSize), bytesPerElement(dtype));

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

/** What the arena has touched after two runs: in the second it is as large as it gets. */
function arenaBytes(buffers: readonly PlannedBuffer[], steps: number): number {
  const starting: PlannedBuffer[][] = Array.from({ length: steps }, () => []);
  const ending: PlannedBuffer[][] = Array.from({ length: steps }, () => []);
  for (const buffer of buffers) {
    starting[buffer.first]?.push(buffer);
    ending[buffer.last]?.push(buffer);
  }
  const arena = new Arena();
  for (let run = 0; run < 2; run++) {
    const chunks = new Map<PlannedBuffer, ReturnType<Arena["allocate"]>>();
    for (let i = 0; i < steps; i++) {
      for (const buffer of starting[i] ?? []) chunks.set(buffer, arena.allocate(buffer.bytes));
      for (const buffer of ending[i] ?? []) arena.free(chunks.get(buffer) as ReturnType<Arena["allocate"]>);
    }
  }
  return arena.touchedBytes;
}
