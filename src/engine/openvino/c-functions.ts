/** What is used of OpenVINO's C library, as its headers `openvino/c/*.h` declare it: numbers, structures, functions. */

import type { LibraryHandle } from "koffi";
import type { DType } from "../../graph/dtype.js";

export type Koffi = typeof import("koffi").default;
export type KoffiFunction = ReturnType<LibraryHandle["func"]>;
type TypeSpec = Parameters<Koffi["sizeof"]>[0] | ReturnType<Koffi["out"]>;

/** `ov_element_type_e` of OpenVINO 2026. */
export const elementTypes: Readonly<Record<DType, number>> = {
  bool: 1,
  bfloat16: 2,
  float16: 3,
  float32: 4,
  float64: 5,
  int8: 7,
  int16: 8,
  int32: 9,
  int64: 10,
  uint8: 16,
  uint16: 17,
  uint32: 18,
  uint64: 19,
};
export const dtypeOfElementType = new Map(Object.entries(elementTypes).map(([dtype, number]) => [number, dtype as DType]));

/** `ov_shape_t` */
export interface ShapeStruct {
  rank: number | bigint;
  dims: unknown;
}
/** `ov_dimension_t` */
export interface DimensionStruct {
  readonly min: number | bigint;
  readonly max: number | bigint;
}
/** `ov_partial_shape_t` */
export interface PartialShapeStruct {
  rank: DimensionStruct;
  dims: unknown;
}
/** `ov_profiling_info_t` */
export interface ProfileStruct {
  readonly status: number;
  readonly realTime: number | bigint;
  readonly name: string;
  readonly kernel: string;
  readonly layerType: string;
}

/** The `status` of an operator that was computed. */
export const profileExecuted = 2;

export const shapeStruct = (shape: readonly number[]): ShapeStruct => ({
  rank: shape.length,
  dims: BigInt64Array.from(shape, BigInt),
});

export type Functions = ReturnType<typeof declareFunctions>;

/** Throws what koffi throws where the library has no function of a name. */
export function declareFunctions(koffi: Koffi, library: LibraryHandle) {
  const int64 = koffi.types.int64;
  const shape = koffi.struct({ rank: int64, dims: koffi.pointer(int64) });
  const dimension = koffi.struct({ min: int64, max: int64 });
  const partialShape = koffi.struct({ rank: dimension, dims: koffi.pointer(dimension) });
  const property = koffi.struct({ key: "str", value: "str" });
  const profile = koffi.struct({
    status: "int",
    realTime: int64,
    cpuTime: int64,
    name: "str",
    kernel: "str",
    layerType: "str",
  });
  const profileList = koffi.struct({ infos: koffi.pointer(profile), size: "size_t" });

  const handle = "void *";
  const out = (type: TypeSpec) => koffi.out(koffi.pointer(type));
  const created = out(handle);
  const call = (name: string, ...parameters: readonly TypeSpec[]) => library.func(name, "int", [...parameters]);
  const optional = (name: string, ...parameters: readonly TypeSpec[]): KoffiFunction | undefined => {
    try {
      return call(name, ...parameters);
    } catch {
      return undefined;
    }
  };
  const release = (name: string, type: TypeSpec = handle) => library.func(name, "void", [type]);
  return {
    dimension,
    profile,
    createCore: call("ov_core_create", created),
    freeCore: release("ov_core_free"),
    getProperty: call("ov_core_get_property", handle, "str", "str", created),
    readModel: call("ov_core_read_model", handle, "str", "str", created),
    readModelFromMemory: call("ov_core_read_model_from_memory_buffer", handle, handle, "size_t", handle, created),
    freeModel: release("ov_model_free"),
    // Not in the first releases of 2026. A function with a variable number of parameters blocks the thread that calls it.
    compile: optional("ov_core_compile_model_props", handle, handle, "str", "size_t", koffi.pointer(property), created),
    compileHere: call("ov_core_compile_model", handle, handle, "str", "size_t", created, "..."),
    freeCompiled: release("ov_compiled_model_free"),
    countInputs: call("ov_compiled_model_inputs_size", handle, out("size_t")),
    countOutputs: call("ov_compiled_model_outputs_size", handle, out("size_t")),
    inputNamed: call("ov_compiled_model_input_by_name", handle, "str", created),
    outputAt: call("ov_compiled_model_output_by_index", handle, "size_t", created),
    portElementType: call("ov_port_get_element_type", handle, out("int")),
    portShape: call("ov_port_get_partial_shape", handle, out(partialShape)),
    freePartialShape: release("ov_partial_shape_free", koffi.pointer(partialShape)),
    freePort: release("ov_output_const_port_free"),
    createRequest: call("ov_compiled_model_create_infer_request", handle, created),
    freeRequest: release("ov_infer_request_free"),
    setTensor: call("ov_infer_request_set_tensor_by_const_port", handle, handle, handle),
    getTensor: call("ov_infer_request_get_tensor_by_const_port", handle, handle, created),
    infer: call("ov_infer_request_infer", handle),
    getProfile: call("ov_infer_request_get_profiling_info", handle, out(profileList)),
    freeProfile: release("ov_profiling_info_list_free", koffi.pointer(profileList)),
    createTensorOver: call("ov_tensor_create_from_host_ptr", "int", shape, handle, created),
    createTensor: call("ov_tensor_create", "int", shape, created),
    tensorShape: call("ov_tensor_get_shape", handle, out(shape)),
    freeShape: library.func("ov_shape_free", "int", [koffi.pointer(shape)]),
    tensorBytes: call("ov_tensor_get_byte_size", handle, out("size_t")),
    tensorData: call("ov_tensor_data", handle, created),
    freeTensor: release("ov_tensor_free"),
  };
}
