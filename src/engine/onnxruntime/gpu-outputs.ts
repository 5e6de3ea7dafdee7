/** Which outputs of a model can stay on a graphics card in a page. */

import { fromBinary } from "@bufbuild/protobuf";
import { type DType, onnxDType } from "../../graph/dtype.js";
import { ModelProtoSchema } from "../../onnx/schema/onnx_pb.js";

/** Element types that onnxruntime-web takes from a graphics card and gives back to it. */
export const onGpu: readonly DType[] = ["float32", "float16", "int32", "int64", "uint32", "uint8", "bool"];

/** For each output that can stay there: `gpu-buffer`. The others come back with the run. */
export function gpuOutputs(model: Uint8Array): Readonly<Record<string, "gpu-buffer">> {
  const numbers = new Set(onGpu.map(onnxDType));
  const staying: Record<string, "gpu-buffer"> = {};
  for (const { name, type } of fromBinary(ModelProtoSchema, model).graph?.output ?? [])
    if (type?.value.case === "tensorType" && numbers.has(type.value.value.elemType)) staying[name] = "gpu-buffer";
  return staying;
}
