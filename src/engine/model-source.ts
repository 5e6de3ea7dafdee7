/** A graph made ready for an engine. */

import type { Graph } from "../graph/graph.js";
import { writeOnnx } from "../onnx/writer.js";
import type { Engine, ModelSource } from "./engine.js";

/** The graph as the engine prefers to be told of it; the ONNX model is written when it is asked for. */
export function modelSource(
  engine: Pick<Engine, "lowering">,
  original: Graph,
  {
    frozen = new Map(),
    externalFiles = [],
    overwrites = new Map(),
    narrow = false,
  }: Partial<Pick<ModelSource, "frozen" | "externalFiles" | "overwrites">> & {
    /** Constants that are stored in fewer bits stay so in memory. */
    readonly narrow?: boolean;
  } = {},
): ModelSource {
  const { faces, passes, widensLate = false } = engine.lowering;
  const graph = passes.reduce((current, pass) => pass(current), original);
  return {
    graph,
    onnx: () => writeOnnx(graph, { faces, frozen, widenLate: narrow && widensLate }),
    externalFiles,
    frozen,
    overwrites,
  };
}
