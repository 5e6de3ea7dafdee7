/** Which precision OpenVINO really computes in: it may choose another than the model says. */

import { ArgumentError } from "../../errors.js";
import type { LoadedModel } from "../engine.js";
import { profileOf } from "./engine.js";

export interface RuntimePrecision {
  /** The name of the ONNX node (`layers.0.mlp/matmul/42`); of several that were fused, the last one's. */
  readonly name: string;
  /** OpenVINO's name for what it computes: `MatMul`, `FullyConnected`, `Subgraph`, ... */
  readonly layerType: string;
  /** `f32`, `bf16`, `f16`, `i32`, ... */
  readonly runtimePrecision: string;
}

/**
 * What every operator that OpenVINO computes in a model computes in, in the order of execution. The model must come from an
 * engine that was made with `profile: true`.
 */
export function runtimePrecisions(model: LoadedModel): readonly RuntimePrecision[] {
  const precisions = profileOf(model).flatMap(({ name, layerType, kernel }) => {
    const [, runtimePrecision] = /_([a-z]+\d+|boolean)$/i.exec(kernel) ?? [];
    return runtimePrecision ? [{ name, layerType, runtimePrecision: runtimePrecision.toLowerCase() }] : [];
  });
  if (precisions.length === 0) throw new ArgumentError("OpenVINO told of no operator: make the engine with `profile: true`.");
  return precisions;
}
