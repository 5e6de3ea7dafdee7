/**
 * OpenVINO's C API (https://docs.openvino.ai/2026/api/c_cpp_api/group__ov__c__api.html), called through koffi. Every status
 * other than OK becomes an error with OpenVINO's own message.
 */

import type { LibraryHandle } from "koffi";
import { TsumikiError } from "../../errors.js";
import type { DType } from "../../graph/dtype.js";

declare const handleBrand: unique symbol;
/** A pointer to an object that OpenVINO owns. Whoever gets one frees it. */
export type Handle = { readonly [handleBrand]: true };

/** An input or output of a compiled model. */
export interface Port {
  readonly handle: Handle;
  readonly dtype: DType;
  /** -1 where the size is known only while the model runs. */
  readonly shape: readonly number[];
}

/** What one operator did in the last run of a request that was compiled with PERF_COUNT. */
export interface OperatorProfile {
  readonly name: string;
  /** `MatMul`, `FullyConnected`, `Subgraph`, ... */
  readonly layerType: string;
  /** The kernel and the precision it computes in: `brgemm_avx512_bf16`. */
  readonly kernel: string;
  readonly executed: boolean;
  readonly microseconds: number;
}

/** `ov_element_type_e` of OpenVINO 2026. */
const elementTypes: Readonly<Record<DType, number>> = {
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
const dtypeOfElementType = new Map(Object.entries(elementTypes).map(([dtype, number]) => [number, dtype as DType]));

/** `ov_status_e` */
const statusNames: Readonly<Record<number, string>> = {
  [-1]: "general error",
  [-2]: "not implemented",
  [-3]: "network not loaded",
  [-4]: "parameter mismatch",
  [-5]: "not found",
  [-6]: "out of bounds",
  [-7]: "unexpected",
  [-8]: "request busy",
  [-9]: "result not ready",
  [-10]: "not allocated",
  [-11]: "inference not started",
  [-12]: "network not read",
  [-13]: "inference cancelled",
  [-14]: "invalid parameter",
  [-15]: "unknown error",
  [-16]: "not implemented in C",
  [-17]: "unknown exception",
};

const invalidParameter = -14;

/** A call that OpenVINO answered with a status other than OK. */
export class OpenVinoError extends TsumikiError {
  /** `ov_status_e` */
  readonly status: number;

  constructor(call: string, status: number, message: string) {
    super("ENGINE", `OpenVINO: ${message || statusNames[status] || "no reason given"} (${call} gave status ${status})`);
    this.status = status;
  }
}

type Koffi = typeof import("koffi").default;
type KoffiFunction = ReturnType<LibraryHandle["func"]>;
type TypeSpec = Parameters<Koffi["sizeof"]>[0] | ReturnType<Koffi["out"]>;

/** Stack of a call on another thread. Compiling a model recurses through it: koffi's own 128 KiB are not enough. */
const asyncStackBytes = 8 * 2 ** 20;

/**
 * Loads the library `libopenvino_c` at a path (or by a name that the system finds). Throws what koffi throws where there is
 * none, or one of another machine.
 */
export async function loadOpenVino(path: string): Promise<OpenVino> {
  const { default: koffi } = await import("koffi");
  let deepStacks = koffi.config().async_stack_size === asyncStackBytes;
  if (!deepStacks)
    try {
      koffi.config({ async_stack_size: asyncStackBytes });
      deepStacks = true;
    } catch {
      // Something else has loaded a library before: what needs a deep stack runs on this thread then, whose stack is deep.
    }
  giveLargeBlocksBack(koffi);
  return new OpenVino(koffi, koffi.load(path), deepStacks);
}

/**
 * Lets glibc take each block from 1 MiB on from the system and give it back when it is freed, as long as nobody has said
 * otherwise. By itself it does that up to the largest block that was ever freed, and keeps all smaller ones: 0.3 GB of a
 * training step of 29 M parameters (2.2 GB with it, 1.9 without, in bfloat16), at the same speed.
 */
function giveLargeBlocksBack(koffi: Koffi): void {
  if (process.platform !== "linux" || process.env.MALLOC_MMAP_THRESHOLD_ !== undefined) return;
  const mmapThreshold = -3; // M_MMAP_THRESHOLD of <malloc.h>
  try {
    koffi.load("libc.so.6").func("mallopt", "int", ["int", "int"])(mmapThreshold, 2 ** 20);
  } catch {
    // Another C library.
  }
}

export class OpenVino {
  readonly #koffi: Koffi;
  readonly #library: LibraryHandle;
  #declared: ReturnType<typeof declare> | undefined;
  readonly #free: KoffiFunction;
  readonly #lastMessage: () => string | null;
  readonly #deepStacks: boolean;

  constructor(koffi: Koffi, library: LibraryHandle, deepStacks: boolean) {
    this.#koffi = koffi;
    this.#deepStacks = deepStacks;
    this.#library = library;
    this.#free = library.func("ov_free", "void", ["void *"]);
    this.#lastMessage = library.func("ov_get_last_err_msg", koffi.disposable("str", this.#free), []);
  }

  /** `2026.4.1-22187-...`: the build number. */
  version(): string {
    const struct = this.#koffi.struct({ buildNumber: "void *", description: "void *" });
    const pointer = this.#koffi.pointer(struct);
    const version: { buildNumber?: unknown } = {};
    this.#check(
      "ov_get_openvino_version",
      this.#library.func("ov_get_openvino_version", "int", [this.#koffi.out(pointer)])(version) as number,
    );
    const text = this.#koffi.decode.string(version.buildNumber);
    this.#library.func("ov_version_free", "void", [pointer])(version);
    return text;
  }

  /** To be called before anything but `version`: functions come and go with versions. */
  declareFunctions(): void {
    this.#declared = declare(this.#koffi, this.#library);
  }

  get #functions(): ReturnType<typeof declare> {
    if (!this.#declared) throw new Error("The functions of OpenVINO's C library have not been declared.");
    return this.#declared;
  }

  /** Where memory lies. */
  address(memory: ArrayBuffer): number {
    return Number(this.#koffi.address(memory));
  }

  createCore(): Handle {
    return this.#created("ov_core_create", this.#functions.createCore);
  }

  /** What a device says of itself: `FULL_DEVICE_NAME`, `OPTIMIZATION_CAPABILITIES`, ... */
  property(core: Handle, device: string, key: string): string {
    const value: [unknown] = [null];
    this.#check("ov_core_get_property", this.#functions.getProperty(core, device, key, value));
    const text = this.#koffi.decode.string(value[0]);
    this.#free(value[0]);
    return text;
  }

  /** An ONNX model from its bytes. */
  async readModel(core: Handle, model: Uint8Array): Promise<Handle> {
    return this.#createdAside("ov_core_read_model_from_memory_buffer", this.#functions.readModelFromMemory, [
      core,
      model,
      model.byteLength,
      null,
    ]);
  }

  /** A model from a file; external data is found beside it. */
  async readModelFile(core: Handle, path: string): Promise<Handle> {
    return this.#createdAside("ov_core_read_model", this.#functions.readModel, [core, path, null]);
  }

  async compile(core: Handle, model: Handle, device: string, properties: Readonly<Record<string, string>>): Promise<Handle> {
    const { compile, compileHere } = this.#functions;
    const entries = Object.entries(properties);
    if (compile)
      return this.#createdAside("ov_core_compile_model_props", compile, [
        core,
        model,
        device,
        entries.length,
        entries.map(([key, value]) => ({ key, value })),
      ]);
    const handle: [Handle | null] = [null];
    const variadic = entries.flatMap(([key, value]) => ["str", key, "str", value]);
    this.#check("ov_core_compile_model", compileHere(core, model, device, 2 * entries.length, handle, ...variadic) as number);
    return handle[0] as Handle;
  }

  countInputs(compiled: Handle): number {
    return this.#count("ov_compiled_model_inputs_size", this.#functions.countInputs, compiled);
  }

  /** The input of a name; `undefined` when the model does not need it. */
  input(compiled: Handle, name: string): Port | undefined {
    const handle: [Handle | null] = [null];
    return this.#functions.inputNamed(compiled, name, handle) === 0 ? this.#port(handle[0] as Handle) : undefined;
  }

  outputs(compiled: Handle): readonly Port[] {
    const count = this.#count("ov_compiled_model_outputs_size", this.#functions.countOutputs, compiled);
    return Array.from({ length: count }, (_, index) =>
      this.#port(this.#created("ov_compiled_model_output_by_index", this.#functions.outputAt, compiled, index)),
    );
  }

  createRequest(compiled: Handle): Handle {
    return this.#created("ov_compiled_model_create_infer_request", this.#functions.createRequest, compiled);
  }

  /** A tensor over memory of JavaScript, which must stay where it is as long as the tensor lives. */
  tensorOver(dtype: DType, shape: readonly number[], memory: Uint8Array): Handle {
    return this.#created(
      "ov_tensor_create_from_host_ptr",
      this.#functions.createTensorOver,
      elementTypes[dtype],
      shapeStruct(shape),
      memory,
    );
  }

  /** A tensor whose memory is OpenVINO's; it grows when a model needs it to. */
  createTensor(dtype: DType, shape: readonly number[]): Handle {
    return this.#created("ov_tensor_create", this.#functions.createTensor, elementTypes[dtype], shapeStruct(shape));
  }

  /** From now on the request reads an input from this tensor, or writes an output to it. */
  setTensor(request: Handle, port: Handle, tensor: Handle): void {
    this.#check("ov_infer_request_set_tensor", this.#functions.setTensor(request, port, tensor));
  }

  /** The tensor that a request reads or writes at a port. */
  tensorAt(request: Handle, port: Handle): Handle {
    return this.#created("ov_infer_request_get_tensor", this.#functions.getTensor, request, port);
  }

  /** Runs on another thread. */
  async infer(request: Handle): Promise<void> {
    this.#check("ov_infer_request_infer", await aside(this.#functions.infer, [request]));
  }

  tensorShape(tensor: Handle): readonly number[] {
    const shape: ShapeStruct = { rank: 0, dims: null };
    this.#check("ov_tensor_get_shape", this.#functions.tensorShape(tensor, shape));
    const sizes = this.#decodeShape(shape);
    this.#functions.freeShape(shape);
    return sizes;
  }

  tensorBytes(tensor: Handle): number {
    const bytes: [number | bigint] = [0];
    this.#check("ov_tensor_get_byte_size", this.#functions.tensorBytes(tensor, bytes));
    return Number(bytes[0]);
  }

  /** Copies what is in a tensor. */
  copyTensor(tensor: Handle, into: Uint8Array): void {
    if (into.byteLength === 0) return;
    const data: [unknown] = [null];
    this.#check("ov_tensor_data", this.#functions.tensorData(tensor, data));
    into.set(new Uint8Array(this.#koffi.view(data[0], into.byteLength)));
  }

  /** What each operator did in the last run; the model must have been compiled with PERF_COUNT. */
  profile(request: Handle): readonly OperatorProfile[] {
    const list: { infos?: unknown; size?: number | bigint } = {};
    this.#check("ov_infer_request_get_profiling_info", this.#functions.getProfile(request, list));
    const infos = this.#koffi.decode(list.infos, this.#functions.profile, Number(list.size)) as readonly ProfileStruct[];
    const profiles = infos.map(({ status, realTime, name, kernel, layerType }) => ({
      name,
      layerType,
      kernel,
      executed: status === profileExecuted,
      microseconds: Number(realTime),
    }));
    this.#functions.freeProfile(list);
    return profiles;
  }

  freeCore(core: Handle): void {
    this.#functions.freeCore(core);
  }
  freeModel(model: Handle): void {
    this.#functions.freeModel(model);
  }
  freeCompiled(compiled: Handle): void {
    this.#functions.freeCompiled(compiled);
  }
  freePort({ handle }: Port): void {
    this.#functions.freePort(handle);
  }
  freeRequest(request: Handle): void {
    this.#functions.freeRequest(request);
  }
  freeTensor(tensor: Handle): void {
    this.#functions.freeTensor(tensor);
  }

  #count(call: string, count: KoffiFunction, compiled: Handle): number {
    const size: [number | bigint] = [0];
    this.#check(call, count(compiled, size));
    return Number(size[0]);
  }

  /** The handle is the port's own. */
  #port(handle: Handle): Port {
    try {
      return { handle, ...this.#describePort(handle) };
    } catch (error) {
      this.#functions.freePort(handle);
      throw error;
    }
  }

  #describePort(port: Handle): Omit<Port, "handle"> {
    const elementType: [number] = [0];
    this.#check("ov_port_get_element_type", this.#functions.portElementType(port, elementType));
    const dtype = dtypeOfElementType.get(elementType[0]);
    if (!dtype) throw new TsumikiError("ENGINE", `OpenVINO made a port of its element type ${elementType[0]} of the model.`);
    const shape: PartialShapeStruct = { rank: { min: 0, max: 0 }, dims: null };
    this.#check("ov_port_get_partial_shape", this.#functions.portShape(port, shape));
    const rank = Number(shape.rank.max);
    const dims = rank > 0 ? (this.#koffi.decode(shape.dims, this.#functions.dimension, rank) as DimensionStruct[]) : [];
    this.#functions.freePartialShape(shape);
    return { dtype, shape: dims.map(({ min, max }) => (min === max ? Number(min) : -1)) };
  }

  #decodeShape({ rank, dims }: ShapeStruct): readonly number[] {
    return Number(rank) === 0 ? [] : Array.from(this.#koffi.decode(dims, "int64", Number(rank)) as ArrayLike<bigint>, Number);
  }

  /** Calls a function whose last parameter takes the handle that it creates. */
  #created(call: string, fn: KoffiFunction, ...parameters: readonly unknown[]): Handle {
    const handle: [Handle | null] = [null];
    this.#check(call, fn(...parameters, handle) as number);
    return handle[0] as Handle;
  }

  async #createdAside(call: string, fn: KoffiFunction, parameters: readonly unknown[]): Promise<Handle> {
    const handle: [Handle | null] = [null];
    const all = [...parameters, handle];
    this.#check(call, this.#deepStacks ? await aside(fn, all) : (fn(...all) as number));
    return handle[0] as Handle;
  }

  #check(call: string, status: number): void {
    if (status === 0) return;
    // The message of a call that was refused before it began is still that of an earlier one.
    throw new OpenVinoError(call, status, status === invalidParameter ? "" : (this.#lastMessage() ?? ""));
  }
}

interface ShapeStruct {
  rank: number | bigint;
  dims: unknown;
}
interface DimensionStruct {
  readonly min: number | bigint;
  readonly max: number | bigint;
}
interface PartialShapeStruct {
  rank: DimensionStruct;
  dims: unknown;
}
interface ProfileStruct {
  readonly status: number;
  readonly realTime: number | bigint;
  readonly name: string;
  readonly kernel: string;
  readonly layerType: string;
}
const profileExecuted = 2;

const shapeStruct = (shape: readonly number[]): ShapeStruct => ({
  rank: shape.length,
  dims: BigInt64Array.from(shape, BigInt),
});

/** A call on another thread; the parameters are held until it is over, so that their memory stays. */
function aside(fn: KoffiFunction, parameters: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    fn.async(...parameters, (error: Error | null, status: number) => {
      void parameters;
      if (error) reject(error);
      else resolve(status);
    });
  });
}

/** The functions that are used, as the headers `openvino/c/*.h` declare them. */
function declare(koffi: Koffi, library: LibraryHandle) {
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
