/** ONNX Runtime's own profile of a graph: every node that it ran, where, and for how long. */

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { ArgumentError } from "../../errors.js";
import type { Graph } from "../../graph/graph.js";
import type { HostArray } from "../../graph/host-array.js";
import type { Device } from "../engine.js";
import { modelSource } from "../model-source.js";
import { engineError } from "./errors.js";
import { loweringFor } from "./lowerings.js";
import { sessionOptions } from "./node.js";
import { isNodeDevice } from "./node-devices.node.js";

/** One run of one node. */
export interface NodeRun {
  /** Tsumiki's operator that the node belongs to. */
  readonly operator: string;
  /** Path of the module that it belongs to; empty at the root. */
  readonly module: string;
  readonly onnxOperator: string;
  /** ONNX Runtime's name of what computed it, e.g. `CPUExecutionProvider`. */
  readonly provider: string;
  readonly seconds: number;
  /** Element type and shape of each output. */
  readonly outputs: readonly (readonly [dtype: string, shape: readonly number[]])[];
}

export interface ProfileRunOptions {
  readonly device: Device;
  readonly threads: number;
  /** How often the graph is run and profiled, after one run that is not. */
  readonly runs: number;
}

/** What ONNX Runtime writes down of a node that it ran. */
interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args: {
    readonly op_name: string;
    readonly provider: string;
    readonly output_type_shape: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/** The nodes that ran, run after run, as the engine runs them: with its lowering and its settings. */
export async function profileNodes(
  original: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  { device, threads, runs }: ProfileRunOptions,
): Promise<readonly (readonly NodeRun[])[]> {
  if (!isNodeDevice(device)) throw new ArgumentError(`onnxruntime-node has no device '${device}'.`);
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-profile-"));
  try {
    const source = modelSource({ lowering: loweringFor(device) }, original);
    const session = await ort.InferenceSession.create(source.onnx(), {
      ...sessionOptions(device, threads),
      enableProfiling: true,
      profileFilePrefix: join(folder, "run"),
    });
    try {
      const feeds = Object.fromEntries(
        [...inputs].map(([name, { dtype, shape, data }]) => [
          name,
          new ort.Tensor(dtype as ort.Tensor.Type, data as never, [...shape]),
        ]),
      );
      for (let i = 0; i <= runs; i++) await session.run(feeds);
      session.endProfiling();
    } finally {
      await session.release();
    }
    const [file] = await readdir(folder);
    const events: readonly ProfileEvent[] = JSON.parse(await readFile(join(folder, file as string), "utf8"));
    return splitRuns(events).slice(1);
  } catch (error) {
    throw engineError("onnxruntime-node", "could not be profiled", error);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** At the end of each run ONNX Runtime notes the run as a whole. */
function splitRuns(events: readonly ProfileEvent[]): NodeRun[][] {
  const runs: NodeRun[][] = [[]];
  for (const event of events) {
    if (event.cat === "Session" && event.name === "model_run") runs.push([]);
    if (event.cat === "Node" && event.name.endsWith("_kernel_time")) runs.at(-1)?.push(nodeRun(event));
  }
  runs.pop();
  return runs;
}

function nodeRun({ name, dur, args }: ProfileEvent): NodeRun {
  const path = name.replace(/_kernel_time$/, "").split("/");
  return {
    operator: path.at(-2) ?? "",
    module: path.slice(0, -2).join("/"),
    onnxOperator: args.op_name,
    provider: args.provider,
    seconds: dur / 1e6,
    outputs: args.output_type_shape.flatMap((output) => Object.entries(output)),
  };
}
