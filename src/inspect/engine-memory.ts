/**
 * How much memory an engine holds while it runs a graph. That is more than what is alive: ONNX Runtime lets values of equal shape
 * share buffers that it keeps in between, and takes them from an arena that never shrinks. Both are gone through here as it does it.
 */

import { type Graph, nodesOf } from "../graph/graph.js";
import { noiseOp } from "../graph/leaves.js";
import { Arena, type Chunk } from "./arena.js";
import { onnxRuntimePlan } from "./onnxruntime-plan.js";
import { openVinoPlan } from "./openvino-plan.js";
import { type PlannedBuffer, peakBytes, tensorBytes } from "./planned-buffer.js";

export type EngineName = "onnxruntime" | "openvino";
export const engineNames: readonly EngineName[] = ["onnxruntime", "openvino"];

export interface EngineMemory {
  /** Values between the inputs and the outputs of the graph, as the engine lays them out, and noise, which the host draws. */
  readonly workingBytes: number;
  /** Node, the engine and the compiled program: what the process holds where tensors are tiny. */
  readonly programBytes: number;
}

/**
 * Resident bytes of the process with an engine, and what a compiled training step adds for each node (operators that wait, their
 * names, code generated for them): measured on Linux with Node 20, with models of a few thousand parameters. With models of 13 to 16
 * million, processes hold 10 MB (ONNX Runtime) and 80 MB (OpenVINO) more, whatever the batch: that is in `processBytes` too.
 */
const programCosts: Readonly<Record<EngineName, { readonly processBytes: number; readonly nodeBytes: number }>> = {
  onnxruntime: { processBytes: 180e6, nodeBytes: 10e3 },
  openvino: { processBytes: 280e6, nodeBytes: 65e3 },
};

/**
 * @param graph as the engine gets it: after the general passes and its own
 * @param unknownSize what a size that only the data decides (rows of an expert) is taken to be
 */
export function engineMemory(graph: Graph, engine: EngineName, unknownSize = 1): EngineMemory {
  const plan = engine === "onnxruntime" ? onnxRuntimePlan(graph, unknownSize) : openVinoPlan(graph, unknownSize);
  const { order, buffers, constantBytes } = plan;
  const { processBytes, nodeBytes } = programCosts[engine];
  const valueBytes = engine === "onnxruntime" ? arenaBytes(buffers, order.length) : peakBytes(buffers, order.length);
  return {
    workingBytes: valueBytes + constantBytes + 2 * noiseBytes(graph, unknownSize),
    programBytes: processBytes + order.length * nodeBytes,
  };
}

/** What the host draws for a step: it is there as it was drawn, and as the engine has it. */
function noiseBytes(graph: Graph, unknownSize: number): number {
  const drawn = nodesOf(graph.outputs.values()).flatMap(({ op, outputs }) => (op === noiseOp ? outputs : []));
  return drawn.reduce((total, tensor) => total + tensorBytes(tensor, unknownSize), 0);
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
    const chunks = new Map<PlannedBuffer, Chunk>();
    for (let i = 0; i < steps; i++) {
      for (const buffer of starting[i] ?? []) chunks.set(buffer, arena.allocate(buffer.bytes));
      for (const buffer of ending[i] ?? []) arena.free(chunks.get(buffer) as Chunk);
    }
  }
  return arena.touchedBytes;
}
