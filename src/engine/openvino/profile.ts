/** OpenVINO's own profile of a graph: every operator that it computed, and for how long. */

import type { Graph } from "../../graph/graph.js";
import type { HostArray } from "../../graph/host-array.js";
import type { EngineBuffer } from "../engine.js";
import { modelSource } from "../model-source.js";
import type { KernelRun } from "../placement.js";
import { openVino, profileOf } from "./engine.js";

export interface OpenVinoProfileOptions {
  readonly threads: number;
  /** How often the graph is run and profiled, after one run that is not. */
  readonly runs: number;
}

/** The operators that ran, run after run, as the engine runs them: with its lowering and its settings. */
export async function profileOpenVinoNodes(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  { threads, runs }: OpenVinoProfileOptions,
): Promise<readonly (readonly KernelRun[])[]> {
  const engine = await openVino({ threads, profile: true });
  try {
    const model = await engine.load(modelSource(engine, graph));
    const feeds = new Map<string, EngineBuffer>();
    for (const [name, array] of inputs) feeds.set(name, await engine.upload(array));
    // Results of a size that is known have a buffer from the first run on, like the state of a program.
    let results: ReadonlyMap<string, EngineBuffer | undefined> = new Map(
      [...graph.outputs.keys()].map((name) => [name, undefined]),
    );
    const profiled: KernelRun[][] = [];
    for (let i = 0; i <= runs; i++) {
      results = await model.run(feeds, results);
      profiled.push(
        profileOf(model).flatMap(({ name, layerType, kernel, executed, microseconds }) =>
          executed ? [{ operator: operatorOf(name), kernel: `${layerType} ${kernel}`, seconds: microseconds / 1e6 }] : [],
        ),
      );
    }
    return profiled.slice(1);
  } finally {
    await engine.close();
  }
}

/** The name of a node is `module/operator/id`, the module a path that may be empty; OpenVINO's own have other names. */
function operatorOf(name: string): string {
  return /(?:^|\/)([^/]+)\/\d+$/.exec(name)?.[1] ?? "";
}
