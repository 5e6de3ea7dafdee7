/** What FLOPs and bytes say of a training step, before it is measured. */

import { type Graph, nodesOf } from "../src/graph/graph.js";
import { elementCount } from "../src/graph/host-array.js";
import { type EngineName, engineMemory, lowered, stepGraph } from "../src/inspect/index.js";
import { attentionBlocks } from "../src/nn/attention-blocks.js";
import { movedBytes } from "./moved-bytes.js";
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

export function cellCosts(workload: LlamaWorkload, engine: EngineName): CellCosts {
  const graph = lowered(stepGraph(makeModel(workload), workload), engine);
  const { workingBytes, programBytes } = engineMemory(graph, engine);
  // Weights and two moments, each with a second buffer.
  const stateBytes = 2 * 3 * 4 * llamaParameterCount(workload);
  return {
    productFlops: stepProducts(workload).reduce((total, shape) => total + matmulFlops(shape), 0),
    otherBytes: movedBytes(graph, engine),
    memoryBytes: stateBytes + workingBytes + programBytes,
  };
}

/** Rows of logits at once: those of src/nn/linear-cross-entropy.ts. */
const LOGIT_ROWS = 512;
/** Of blocks with so many sizes, which differ in their keys alone, so many are measured for all. */
const MEASURED_SIZES = 4;
/** Operands of the products of whole attention are measured up to this size; of larger ones fewer heads are computed at once. */
const LARGEST_OPERAND = 2 ** 28;

/**
 * The products of a training step as the product computes it: attention in blocks that meet only the keys that they may see, with
 * the scores computed again in the backward pass, or whole; the output layer in chunks of rows.
 */
export function stepProducts(workload: LlamaWorkload): MatmulShape[] {
  const { layers, hidden, heads, kvHeads = heads, intermediate, vocabulary, context, batch } = workload;
  const tokens = batch * context;
  const keyWidth = (hidden / heads) * kvHeads;
  const shapes = [
    ...withGradients("query, output", 2 * layers, 1, tokens, hidden, hidden, true),
    ...withGradients("key, value", 2 * layers, 1, tokens, hidden, keyWidth, true),
    ...withGradients("gate, up", 2 * layers, 1, tokens, hidden, intermediate, true),
    ...withGradients("down", layers, 1, tokens, intermediate, hidden, true),
    ...withGradients("logits", tokens / LOGIT_ROWS, 1, LOGIT_ROWS, hidden, vocabulary, true),
    ...(workload.wholeAttention ? wholeProducts(workload) : blockProducts(workload)),
  ];
  return shapes.map((shape) => ({ ...shape, warm: true }));
}

function wholeProducts({ layers, hidden, heads, context, batch }: LlamaWorkload): MatmulShape[] {
  const together = Math.max(1, Math.min(batch * heads, Math.floor(LARGEST_OPERAND / (4 * context ** 2))));
  const [count, width] = [(layers * batch * heads) / together, hidden / heads];
  return [
    ...withGradients("scores", count, together, context, width, context, true),
    ...withGradients("values", count, together, context, context, width, false),
  ];
}

function blockProducts(workload: LlamaWorkload): MatmulShape[] {
  const { layers, hidden, heads, kvHeads = heads, batch } = workload;
  return measuredMeetings(workload).flatMap(({ queries, keys, count }) => {
    const [groups, rows, width] = [batch * kvHeads, (heads / kvHeads) * queries, hidden / heads];
    const scores = withGradients(`scores of ${keys} keys`, count * layers, groups, rows, width, keys, true);
    const values = withGradients(`values of ${keys} keys`, count * layers, groups, rows, keys, width, false);
    const [forward, ...backward] = scores as [MatmulShape, ...MatmulShape[]];
    return [{ ...forward, count: 2 * forward.count }, ...backward, ...values];
  });
}

/** How many queries of a block meet how many keys at once, and how often. */
interface Meeting {
  readonly queries: number;
  readonly keys: number;
  readonly count: number;
}

/** All that there are, by size; where these are many, a few of them, counted for as many FLOPs as all have. */
function measuredMeetings({ context, window }: LlamaWorkload): readonly Meeting[] {
  const counts = new Map<string, Meeting>();
  for (const { start, end, keys: stretches } of attentionBlocks(context, context, { causal: true, window }))
    for (const stretch of stretches) {
      const [queries, keys] = [end - start, stretch.end - stretch.start];
      const { count } = counts.get(`${queries} × ${keys}`) ?? { count: 0 };
      counts.set(`${queries} × ${keys}`, { queries, keys, count: count + 1 });
    }
  const meetings = [...counts.values()].sort((a, b) => a.keys - b.keys);
  const groups = Math.min(MEASURED_SIZES, meetings.length);
  const work = ({ queries, keys }: Meeting) => queries * keys;
  return Array.from({ length: groups }, (_, group) => {
    const members = meetings.slice(
      Math.floor((group * meetings.length) / groups),
      Math.floor(((group + 1) * meetings.length) / groups),
    );
    const middle = members[members.length >> 1] as Meeting;
    return { ...middle, count: members.reduce((total, member) => total + member.count * work(member), 0) / work(middle) };
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
