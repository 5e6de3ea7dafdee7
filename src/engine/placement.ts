/** Where operators run, and for how long: what an engine's profile of a graph tells. */

import { operatorsOnCpu as onCpu, profileOperators as profile } from "#platform/engine/placement";
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
): Promise<readonly FallenBack[]> => onCpu(graph, inputs, device);

export interface ProfileOptions {
  /** Which engine is asked: `openvino` or `onnxruntime`. Default: `auto`, OpenVINO on the CPU where it is installed. */
  readonly engine?: "auto" | "onnxruntime" | "openvino";
  /** Default: `cpu`. */
  readonly device?: Device;
  /** Default: one for each core. */
  readonly threads?: number;
  /** Runs of which the median is taken, after one that does not count. Default 3. */
  readonly runs?: number;
}

/** One run of one kernel. */
export interface KernelRun {
  /** Tsumiki's name for it. Of operators that OpenVINO computes as one, the last one's; empty for what an engine has put in between. */
  readonly operator: string;
  /** The engine's name for what computed it: `FusedMatMul` (ONNX Runtime), `MatMul brgemm_avx512_f32` (OpenVINO). */
  readonly kernel: string;
  readonly seconds: number;
}

/** The time of all nodes of one kind, in one run together. */
export interface OperatorTime extends KernelRun {
  readonly calls: number;
}

/**
 * Where the time of a graph goes, the longest first, as the engine measures it. In a page nobody can tell: throws an
 * ENGINE error.
 *
 * @param inputs data for every input of the graph, by name; `program.capture(feeds)` gives both
 */
export const profileOperators = (
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  options: ProfileOptions = {},
): Promise<readonly OperatorTime[]> => profile(graph, inputs, options);
