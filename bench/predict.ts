/** What FLOPs and bytes say of a training step, before it is measured. */

import { bytesPerElement } from "../src/graph/dtype.js";
import type { Graph } from "../src/graph/graph.js";
import { nodesOf } from "../src/graph/graph.js";
import { elementCount } from "../src/graph/host-array.js";
import type { Tensor } from "../src/graph/tensor.js";
import { engineMemory, stepGraph } from "../src/inspect/index.js";
import { makeModel } from "./peers/tsumiki-step.js";
import { type LlamaWorkload, llamaParameterCount, type MatmulShape, matmulFlops, withGradients } from "./workloads.js";

export interface CellCosts {
  /** Of all matrix products of a step. */
  readonly productFlops: number;
  /** Read and written by all other operators. */
  readonly otherBytes: number;
  /** Of the process. */
  readonly memoryBytes: number;
}

export function cellCosts(workload: LlamaWorkload, engine: "onnxruntime" | "openvino"): CellCosts {
  const graph = stepGraph(makeModel(workload), workload);
  const { workingBytes, programBytes } = engineMemory(graph, engine);
  // Weights and two moments, each with a second buffer.
  const stateBytes = 2 * 3 * 4 * llamaParameterCount(workload);
  return {
    productFlops: stepProducts(workload).reduce((total, shape) => total + matmulFlops(shape), 0),
    otherBytes: otherBytes(graph),
    memoryBytes: stateBytes + workingBytes + programBytes,
  };
}

/** Queries of a block, and most blocks of a sequence: those of src/nn/blockwise-attention.ts. */
const BLOCK = 128;
const MOST_BLOCKS = 16;
/** Rows of logits at once: those of src/nn/linear-cross-entropy.ts. */
const LOGIT_ROWS = 512;
/** Of the blocks, which differ in their keys alone, so many are measured for all. */
const MEASURED_BLOCKS = 4;

/**
 * The products of a training step as the product computes it: attention in blocks that meet only the keys that they may see, with
 * the scores computed again in the backward pass; the output layer in chunks of rows.
 */
export function stepProducts(workload: LlamaWorkload): MatmulShape[] {
  const { layers, hidden, heads, kvHeads = heads, intermediate, vocabulary, context, batch } = workload;
  const tokens = batch * context;
  const keyWidth = (hidden / heads) * kvHeads;
  return [
    ...withGradients("query, output", 2 * layers, 1, tokens, hidden, hidden, true),
    ...withGradients("key, value", 2 * layers, 1, tokens, hidden, keyWidth, true),
    ...withGradients("gate, up", 2 * layers, 1, tokens, hidden, intermediate, true),
    ...withGradients("down", layers, 1, tokens, intermediate, hidden, true),
    ...withGradients("logits", tokens / LOGIT_ROWS, 1, LOGIT_ROWS, hidden, vocabulary, true),
    ...measuredBlocks(workload).flatMap(({ queries, keys, count }) => {
      const [groups, rows, width] = [batch * kvHeads, (heads / kvHeads) * queries, hidden / heads];
      const scores = withGradients(`scores of ${keys} keys`, count * layers, groups, rows, width, keys, true);
      const values = withGradients(`values of ${keys} keys`, count * layers, groups, rows, keys, width, false);
      const [forward, ...backward] = scores as [MatmulShape, ...MatmulShape[]];
      return [{ ...forward, count: 2 * forward.count }, ...backward, ...values];
    }),
  ];
}

interface Block {
  readonly queries: number;
  readonly keys: number;
}

/** Blocks of queries with the keys that they meet, from the first that the window of the first query reaches, in whole blocks. */
export function attentionBlocks({ context, window = Number.POSITIVE_INFINITY }: LlamaWorkload): Block[] {
  const size = BLOCK * Math.ceil(context / (MOST_BLOCKS * BLOCK));
  return Array.from({ length: Math.ceil(context / size) }, (_, i) => {
    const end = Math.min(context, (i + 1) * size);
    const from = Math.max(0, Math.floor((i * size - window + 1) / size) * size);
    return { queries: end - i * size, keys: end - from };
  });
}

/** A few of them, counted for as many FLOPs as all have. */
function measuredBlocks(workload: LlamaWorkload): (Block & { readonly count: number })[] {
  const blocks = attentionBlocks(workload).sort((a, b) => a.keys - b.keys);
  const groups = Math.min(MEASURED_BLOCKS, blocks.length);
  return Array.from({ length: groups }, (_, group) => {
    const members = blocks.slice(
      Math.floor((group * blocks.length) / groups),
      Math.floor(((group + 1) * blocks.length) / groups),
    );
    const middle = members[members.length >> 1] as Block;
    const work = ({ queries, keys }: Block) => queries * keys;
    return { ...middle, count: members.reduce((total, block) => total + work(block), 0) / work(middle) };
  });
}

/** FLOPs of the products in a graph with concrete sizes. */
export function productFlops(graph: Graph): number {
  return nodesOf(graph.outputs.values()).reduce((total, { op, inputs, outputs, attributes }) => {
    if (op.name !== "matmul") return total;
    const { transposeA } = attributes as { readonly transposeA: boolean };
    const inner = inputs[0]?.size(transposeA ? -2 : -1) as number;
    return total + 2 * inner * elementCount(outputs[0]?.shape as readonly number[]);
  }, 0);
}

const views = new Set(["reshape", "waitFor", "passThrough", "stopGradient", "lateZero"]);

/** What operators other than products read and write. */
function otherBytes(graph: Graph): number {
  const bytes = ({ dtype, shape }: Tensor) => bytesPerElement(dtype) * elementCount(shape as readonly number[]);
  return nodesOf(graph.outputs.values()).reduce(
    (total, { op, inputs, outputs }) =>
      op.leaf || op.name === "matmul" || views.has(op.name)
        ? total
        : total +
          [...(op.name === "slice" || op.name === "gather" ? outputs : inputs), ...outputs].reduce(
            (sum, tensor) => sum + bytes(tensor),
            0,
          ),
    0,
  );
}
