/** Which operators an engine on a graphics card computes on the CPU, and where the time goes, from the engine's own profile. */

import { defaultThreads } from "#platform/engine/threads";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { Graph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import type { Device } from "./engine.js";
import { type NodeRun, profileNodes } from "./onnxruntime/profile.node.js";
import type { FallenBack, KernelRun, OperatorTime, ProfileOptions } from "./placement.js";

export async function operatorsOnCpu(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  device: Device,
): Promise<readonly FallenBack[]> {
  const [nodes = []] = await profileNodes(graph, inputs, { device, threads: defaultThreads(), runs: 1 });
  return nodes.filter(isFallback).map(({ operator, module, onnxOperator }): FallenBack => ({ operator, module, onnxOperator }));
}

/** Sizes are computed on the CPU on purpose: a few integers that it needs itself. */
function isFallback({ provider, outputs }: NodeRun): boolean {
  const areSizes = outputs.every(([dtype, shape]) => dtype === "int64" && shape.length <= 1);
  return provider === "CPUExecutionProvider" && !areSizes;
}

export async function profileOperators(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  options: ProfileOptions,
): Promise<readonly OperatorTime[]> {
  const profiled = await runsOfNodes(graph, inputs, options);
  const groups = new Map<string, { time: Omit<OperatorTime, "seconds" | "calls">; perRun: number[]; calls: number }>();
  for (const [run, nodes] of profiled.entries())
    for (const { operator, kernel, seconds } of nodes) {
      const key = `${operator} ${kernel}`;
      const group = groups.get(key) ?? { time: { operator, kernel }, perRun: profiled.map(() => 0), calls: 0 };
      group.perRun[run] = (group.perRun[run] ?? 0) + seconds;
      group.calls++;
      groups.set(key, group);
    }
  return [...groups.values()]
    .map(({ time, perRun, calls }) => ({ ...time, seconds: median(perRun), calls: Math.round(calls / profiled.length) }))
    .sort((a, b) => b.seconds - a.seconds);
}

async function runsOfNodes(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  { engine = "auto", device = "cpu", threads = defaultThreads(), runs = 3 }: ProfileOptions,
): Promise<readonly (readonly KernelRun[])[]> {
  if (engine === "openvino" && device !== "cpu")
    throw new ArgumentError(`OpenVINO runs on the device 'cpu' here, but '${device}' was asked for.`);
  if (device === "cpu" && engine !== "onnxruntime")
    try {
      const { profileOpenVinoNodes } = await import("./openvino/profile.js");
      return await profileOpenVinoNodes(graph, inputs, { threads, runs });
    } catch (error) {
      const isAbsent = error instanceof TsumikiError && error.code === "ENGINE_ABSENT";
      if (engine === "openvino" || !isAbsent) throw error;
    }
  const profiled = await profileNodes(graph, inputs, { device, threads, runs });
  return profiled.map((nodes) =>
    nodes.map(({ operator, onnxOperator, seconds }) => ({ operator, kernel: onnxOperator, seconds })),
  );
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
}
