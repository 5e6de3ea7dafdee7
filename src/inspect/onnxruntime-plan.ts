/**
 * Which values ONNX Runtime puts into which memory on a CPU, and when: the order of its executor and the rules of its planner
 * (`onnxruntime/core/framework/allocation_planner.cc`), without its memory patterns, which are switched off here.
 */

import { isStatic } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import type { Node, Tensor } from "../graph/tensor.js";
import { valuesOfKnownSize } from "./known-sizes.js";
import {
  depthFirst,
  type MemoryPlan,
  type PlannedBuffer,
  tensorBytes,
  withoutConstants,
  withoutPassThroughs,
} from "./planned-buffer.js";

/** Operators whose kernels may write over their first operand (`MayInplace`): arithmetic of two operands may not. */
const inPlaceOperators = new Set(["sigmoid", "tanh", "relu", "silu", "cast", "softmax"]);

/** @param unknownSize what a size that only the data decides (rows of an expert) is taken to be */
export function onnxRuntimePlan(traced: Graph, unknownSize = 1): MemoryPlan {
  const graph = withoutPassThroughs(traced);
  const { order, constantBytes } = withoutConstants(onnxRuntimeOrder(graph), unknownSize);
  return { order, buffers: planBuffers(graph, order, unknownSize), constantBytes };
}

/** Depth first from the outputs, the last first; of a node's operands the one that was made last comes first. */
export function onnxRuntimeOrder(graph: Graph): readonly Node[] {
  const nodes = nodesOf(graph.outputs.values());
  const read = new Set(nodes.flatMap(({ inputs }) => inputs.map(({ node }) => node)));
  const ends = nodes.filter((node) => !read.has(node));
  return depthFirst(ends, (operands) => [...operands].sort((a, b) => a.id - b.id));
}

/** A buffer as the planner follows it. */
interface Storage {
  /** The value that it was made for; its shape is what others are compared with. */
  readonly madeFor: Tensor;
  readonly buffer: PlannedBuffer;
  /** Readers to come, of all values in it. */
  uses: number;
}

/**
 * A result takes the memory of an operand that is not needed any more where the kernel allows it, else that of a dead value of the
 * same size and shape, the latest first; such memory is held from the first of its values to the last. Leaves and the graph's
 * outputs lie elsewhere.
 */
function planBuffers(graph: Graph, order: readonly Node[], unknownSize: number): readonly PlannedBuffer[] {
  const results = new Set(graph.outputs.values());
  const known = valuesOfKnownSize(order);
  const readers = new Map<Tensor, number>();
  for (const { inputs } of order) for (const input of inputs) readers.set(input, (readers.get(input) ?? 0) + 1);
  const storageOf = new Map<Tensor, Storage>();
  const free: Storage[] = [];
  const planned: PlannedBuffer[] = [];

  const sameSize = (a: Tensor, b: Tensor): boolean => known.has(a) && known.has(b) && sizeKey(a) === sizeKey(b);
  const operandFor = ({ op, inputs }: Node, output: Tensor): Storage | undefined => {
    const [first] = inputs;
    const storage = first && storageOf.get(first);
    if (!first || !storage || op.traits.moves === "view") return storage;
    return inPlaceOperators.has(op.name) && storage.uses === 1 && sameSize(first, output) ? storage : undefined;
  };
  const deadFor = (output: Tensor): Storage | undefined => {
    if (!known.has(output) || output.rank === 0) return undefined;
    const at = free.findIndex(({ madeFor }) => sameSize(madeFor, output));
    return at < 0 ? undefined : free.splice(at, 1)[0];
  };
  const release = (storage: Storage | undefined): void => {
    if (storage && --storage.uses === 0) free.unshift(storage);
  };

  for (const [step, node] of order.entries()) {
    for (const output of node.outputs) {
      if (results.has(output) || isViewOfOutside(node, storageOf)) continue;
      let storage = operandFor(node, output) ?? deadFor(output);
      if (!storage) {
        const buffer = { bytes: tensorBytes(output, unknownSize), first: step, last: step };
        planned.push(buffer);
        storage = { madeFor: output, buffer, uses: 0 };
      }
      storage.uses += 1 + (readers.get(output) ?? 0);
      storage.buffer.last = step;
      storageOf.set(output, storage);
    }
    for (const input of node.inputs) {
      const storage = storageOf.get(input);
      if (storage) storage.buffer.last = step;
      release(storage);
    }
    for (const output of node.outputs) release(storageOf.get(output));
  }
  return planned;
}

/** A view of a leaf or of a result. */
const isViewOfOutside = ({ op, inputs: [first] }: Node, storageOf: ReadonlyMap<Tensor, Storage>): boolean =>
  op.traits.moves === "view" && first !== undefined && !storageOf.has(first);

const sizeKey = ({ dtype, shape }: Tensor): string =>
  `${bytesPerElement(dtype)}[${shape.map((dim) => (isStatic(dim) ? dim : dim.key)).join()}]`;
