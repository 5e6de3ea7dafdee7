/** ONNX Runtime in the browser (WebAssembly, WebGPU), and its WebAssembly in Node. */

import type { Env } from "onnxruntime-web";
import { isSoftwareGpu, loadWebRuntime, whyAbsent, whyNoThreads } from "#platform/engine/onnxruntime/web-runtime";
import { defaultThreads } from "#platform/engine/threads";
import { ArgumentError, TsumikiError } from "../../errors.js";
import type { Device, Engine } from "../engine.js";
import type { DeviceReport } from "../provider.js";
import { type GpuDevice, GpuMemory } from "./gpu-memory.js";
import { gpuOutputs } from "./gpu-outputs.js";
import { loweringFor } from "./lowerings.js";
import { holdDevice, type Runtime, sessionEngine } from "./session-engine.js";

export type WebDevice = Extract<Device, "wasm" | "webgpu">;

export interface WebRuntime extends Runtime {
  readonly env: Env;
}

export interface OnnxRuntimeWebOptions {
  /** Default: `wasm`. */
  readonly device?: WebDevice;
  /** Threads of WebAssembly; the first engine of a page or worker decides for all. Default: about one for each core. */
  readonly threads?: number;
  /**
   * Where the package's .wasm and .mjs files are served: the folder's URL, or a URL for each. Default: beside the module
   * that the bundler has made of onnxruntime-web.
   */
  readonly wasmPaths?: string | { readonly wasm?: string; readonly mjs?: string };
}

/** Whether a device is here and worth choosing unasked: a WebGPU that is itself computed on the CPU is not. */
export const isWebDeviceFast = async (device: WebDevice): Promise<boolean> =>
  (await whyAbsent(device)) === undefined && !(device === "webgpu" && (await isSoftwareGpu()));

export async function detectWebDevices(
  devices: readonly WebDevice[],
): Promise<{ readonly version: string; readonly devices: readonly DeviceReport[] }> {
  const reports: DeviceReport[] = [];
  for (const device of devices) {
    const absent = await whyAbsent(device);
    reports.push({ device, present: absent === undefined, detail: absent ?? (await describeDevice(device)) });
  }
  const { env } = await loadWebRuntime("wasm");
  return { version: versionOf(env), devices: reports };
}

async function describeDevice(device: WebDevice): Promise<string> {
  if (device === "webgpu") return (await isSoftwareGpu()) ? "WebGPU computed on the CPU: slow" : "graphics card";
  const { reason } = webThreads();
  return `WebAssembly${reason ? `, one thread: ${reason}` : ""}`;
}

const versionOf = (env: Env): string => env.versions.web ?? env.versions.common;

/** Threads that WebAssembly will get here when so many are asked for, and why they are fewer. */
function webThreads(threads: number = defaultThreads()): { readonly threads: number; readonly reason?: string } {
  const reason = whyNoThreads();
  return reason === undefined || threads === 1 ? { threads } : { threads: 1, reason };
}

/** The number of threads of each runtime that has been started: it cannot be changed any more. */
const startedThreads = new WeakMap<object, number>();

/**
 * An engine over onnxruntime-web. On `wasm` buffers live in JavaScript's memory, on `webgpu` what a run computes stays on
 * the device until it is read. Throws ENGINE_ABSENT when the device is not there. Without cross-origin isolation
 * WebAssembly gets one thread, and a warning on the console says so.
 */
export async function onnxRuntimeWeb(options: OnnxRuntimeWebOptions = {}): Promise<Engine> {
  const { device = "wasm", wasmPaths } = options;
  if (device !== "wasm" && device !== "webgpu")
    throw new ArgumentError(`onnxruntime-web has the devices wasm and webgpu, but '${String(device)}' was asked for.`);
  if (options.threads !== undefined && (!Number.isInteger(options.threads) || options.threads < 1))
    throw new ArgumentError(`An engine needs a whole number of threads from 1, but ${options.threads} was given.`);
  const absent = await whyAbsent(device);
  if (absent !== undefined) throw new TsumikiError("ENGINE_ABSENT", `onnxruntime-web has no device '${device}' here. ${absent}`);

  const runtime = await loadWebRuntime(device);
  let threads = startedThreads.get(runtime.env);
  if (threads === undefined) {
    const possible = webThreads(options.threads);
    threads = possible.threads;
    if (possible.reason) console.warn(`onnxruntime-web runs on 1 thread: ${possible.reason}.`);
    runtime.env.wasm.numThreads = threads;
    if (wasmPaths !== undefined) runtime.env.wasm.wasmPaths = wasmPaths;
    startedThreads.set(runtime.env, threads);
  }
  const engine = await sessionEngine({
    name: "onnxruntime-web",
    device,
    version: versionOf(runtime.env),
    threads,
    lowering: loweringFor(device),
    runtime: async () => runtime,
    ...(device === "webgpu" && {
      gpuMemory: new GpuMemory(runtime.Tensor, () => runtime.env.webgpu.device as unknown as GpuDevice | undefined),
    }),
    async sessionSource(source) {
      const model = source.onnx();
      return {
        model,
        options: {
          executionProviders: [device],
          // As in Node: the lowering for WebAssembly has done what higher levels look for.
          graphOptimizationLevel: device === "wasm" ? "basic" : "all",
          logSeverityLevel: 4, // what goes wrong is thrown
          // The runtime fetches them in a page and reads them in Node.
          externalData: source.externalFiles.map(({ location, path }) => ({ path: location, data: path })),
          ...(device === "webgpu" ? { preferredOutputLocation: gpuOutputs(model) } : {}),
        },
      };
    },
  });
  if (device === "webgpu") await holdDevice(engine);
  return engine;
}
