/** Operators that fall back from a graphics card to the CPU. */

import { operatorsOnCpu as ofPlatform } from "#platform/engine/placement";
import type { Graph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import type { Device } from "./engine.js";

/** An operator that ran on the CPU although another device was asked for. */
export interface FallenBack {
  readonly operator: string;
  /** Path of the module that it belongs to; empty at the root. */
  readonly module: string;
  /** The ONNX operator that the device does not have, or not for this element type. */
  readonly onnxOperator: string;
}

/**
 * Runs a graph once on a device of onnxruntime-node and tells which of its operators ran on the CPU: values then travel there
 * and back. Sizes, which are always computed on the CPU, do not count. In a page nobody can tell: throws an ENGINE error.
 *
 * @param inputs data for every input of the graph, by name
 */
export const operatorsOnCpu = (
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  device: Device,
): Promise<readonly FallenBack[]> => ofPlatform(graph, inputs, device);
