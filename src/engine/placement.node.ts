/** Which operators an engine on a graphics card computes on the CPU, from ONNX Runtime's profile of one run. */

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { ArgumentError } from "../errors.js";
import type { Graph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import type { Device } from "./engine.js";
import { modelSource } from "./model-source.js";
import { engineError } from "./onnxruntime/errors.js";
import { loweringFor } from "./onnxruntime/lowerings.js";
import { isNodeDevice, nodeDevices } from "./onnxruntime/node-devices.js";
import type { FallenBack } from "./placement.js";

/** What ONNX Runtime writes down of a node that it ran. */
interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly args: {
    readonly op_name: string;
    readonly provider: string;
    readonly output_type_shape: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

export async function operatorsOnCpu(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  device: Device,
): Promise<readonly FallenBack[]> {
  if (!isNodeDevice(device)) throw new ArgumentError(`onnxruntime-node has no device '${device}'.`);
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-profile-"));
  try {
    const events = await profile(graph, inputs, nodeDevices[device].provider, device, join(folder, "run"));
    return events.filter(isFallback).map(({ name, args }) => {
      const path = name.replace(/_kernel_time$/, "").split("/");
      return { operator: path.at(-2) ?? "", module: path.slice(0, -2).join("/"), onnxOperator: args.op_name };
    });
  } catch (error) {
    throw engineError("onnxruntime-node", "could not be profiled", error);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function profile(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  provider: string,
  device: Device,
  profileFilePrefix: string,
): Promise<readonly ProfileEvent[]> {
  const source = modelSource({ lowering: loweringFor(device) }, graph);
  const session = await ort.InferenceSession.create(source.onnx(), {
    executionProviders: [provider],
    enableProfiling: true,
    profileFilePrefix,
    logSeverityLevel: 4,
  });
  try {
    const feeds = [...inputs].map(([name, { dtype, shape, data }]): [string, ort.Tensor] => [
      name,
      new ort.Tensor(dtype as ort.Tensor.Type, data as never, [...shape]),
    ]);
    await session.run(Object.fromEntries(feeds));
    session.endProfiling();
  } finally {
    await session.release();
  }
  const folder = join(profileFilePrefix, "..");
  const [file] = await readdir(folder);
  return JSON.parse(await readFile(join(folder, file as string), "utf8"));
}

/** Sizes are computed on the CPU on purpose: a few integers that it needs itself. */
function isFallback({ cat, args }: ProfileEvent): boolean {
  if (cat !== "Node" || args.provider !== "CPUExecutionProvider") return false;
  const isSize = ([dtype, shape]: readonly [string, readonly number[]]) => dtype === "int64" && shape.length <= 1;
  return !args.output_type_shape.every((output) => Object.entries(output).every(isSize));
}
