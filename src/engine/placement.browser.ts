/** In a page ONNX Runtime does not tell where it ran what, nor how long that took. */

import { TsumikiError } from "../errors.js";
import type { Graph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import type { Device } from "./engine.js";
import type { FallenBack, OperatorTime, ProfileOptions } from "./placement.js";

export async function operatorsOnCpu(
  _graph: Graph,
  _inputs: ReadonlyMap<string, HostArray>,
  _device: Device,
): Promise<readonly FallenBack[]> {
  throw new TsumikiError("ENGINE", "onnxruntime-web does not tell which operators it ran on the CPU. Ask in Node.");
}

export async function profileOperators(
  _graph: Graph,
  _inputs: ReadonlyMap<string, HostArray>,
  _options: ProfileOptions,
): Promise<readonly OperatorTime[]> {
  throw new TsumikiError("ENGINE", "onnxruntime-web does not tell how long its operators took. Ask in Node.");
}
