/**
 * OpenVINO's C API (https://docs.openvino.ai/2026/api/c_cpp_api/group__ov__c__api.html), called through koffi. Every status
 * other than OK becomes an error with OpenVINO's own message.
 */

import type { LibraryHandle } from "koffi";
import { TsumikiError } from "../../errors.js";
import type { DType } from "../../graph/dtype.js";
import type { HugePages } from "../huge-pages.node.js";
import { loadNative, type Native } from "../native.node.js";
import {
  type DimensionStruct,
  declareFunctions,
  dtypeOfElementType,
  elementTypes,
  type Functions,
  type Koffi,
  type KoffiFunction,
  type PartialShapeStruct,
  type ProfileStruct,
  profileExecuted,
  type ShapeStruct,
  shapeStruct,
} from "./c-functions.js";
import { invalidParameter, OpenVinoError } from "./errors.js";

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

/**
 * Loads the library `libopenvino_c` at a path (or by a name that the system finds). Throws what koffi throws where there is
 * none, or one of another machine.
 */
export async function loadOpenVino(path: string): Promise<OpenVino> {
  return new OpenVino(await loadNative(), path);
}

export class OpenVino {
  readonly #koffi: Koffi;
  readonly #library: LibraryHandle;
  #declared: Functions | undefined;
  readonly #free: KoffiFunction;
  readonly #lastMessage: () => string | null;
  readonly #deepStacks: boolean;
  readonly hugePages: HugePages | undefined;

  /** See `loadOpenVino`. */
  constructor({ koffi, deepStacks, hugePages }: Native, path: string) {
    const library = koffi.load(path);
    this.#koffi = koffi;
    this.#deepStacks = deepStacks;
    this.hugePages = hugePages;
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
    this.#declared = declareFunctions(this.#koffi, this.#library);
  }

  get #functions(): Functions {
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

  /** Runs on another thread. `memory` is what it reads and writes: it is held until the run is over, whoever lets go of it. */
  async infer(request: Handle, memory: readonly unknown[]): Promise<void> {
    this.#check("ov_infer_request_infer", await aside(this.#functions.infer, [request], memory));
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

/** A call on another thread; the parameters, and what else is given, are held until it is over, so that their memory stays. */
function aside(fn: KoffiFunction, parameters: readonly unknown[], held?: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    fn.async(...parameters, (error: Error | null, status: number) => {
      void [parameters, held];
      if (error) reject(error);
      else resolve(status);
    });
  });
}
