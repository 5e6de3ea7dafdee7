/** ONNX Runtime in Node: the engine that arrives whole with `npm install`. */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-node";
import { defaultThreads } from "#platform/engine/threads";
import { ArgumentError, TsumikiError } from "../../errors.js";
import { input } from "../../graph/leaves.js";
import { writeOnnx } from "../../onnx/writer.js";
import type { Device, Engine, ModelSource } from "../engine.js";
import type { DeviceReport } from "../provider.js";
import { plainMessage } from "./errors.js";
import { locateExternalFiles } from "./external-files.js";
import { runInPlace, withStopOutput } from "./in-place.js";
import { loweringFor } from "./lowerings.js";
import { type SessionSource, sessionEngine } from "./session-engine.js";

export type NodeDevice = Exclude<Device, "wasm">;

export interface OnnxRuntimeNodeOptions {
  /** Default: `cpu`. */
  readonly device?: NodeDevice;
  /** Threads that one operator may use on the CPU. Default: one for each physical core. */
  readonly threads?: number;
}

/** What ONNX Runtime calls its execution providers. */
const providerNames: Readonly<Record<NodeDevice, string>> = {
  cpu: "cpu",
  webgpu: "webgpu",
  cuda: "cuda",
  coreml: "coreml",
  directml: "dml",
};

const nodeDevices = Object.keys(providerNames) as NodeDevice[];

export const onnxRuntimeNodeVersion: string = ort.env.versions.node ?? ort.env.versions.common;

/** What to install or set where a device is missing. */
const deviceHints: Readonly<Record<NodeDevice, string>> = {
  cpu: "onnxruntime-node has builds for Linux, macOS and Windows, x64 and arm64.",
  webgpu:
    "It needs a graphics card with a driver for Vulkan, Metal or Direct3D 12. " +
    "On Linux without one, a software Vulkan driver will do: set VK_ICD_FILENAMES to its vk_*_icd.json.",
  cuda:
    "It needs Linux x64, an NVIDIA card, CUDA 12 and cuDNN 9, and the libraries that onnxruntime-node's install script fetches: " +
    "`npm rebuild onnxruntime-node --ignore-scripts=false`.",
  coreml: "It is part of macOS.",
  directml: "It is part of Windows 10 and later.",
};

const deviceDetails: Readonly<Record<NodeDevice, string>> = {
  cpu: "training and inference, float32; the default in Node",
  webgpu: "graphics card through Vulkan, Metal or Direct3D 12; buffers stay in host memory",
  cuda: "NVIDIA card; buffers stay in host memory",
  coreml: "Apple's neural engine and graphics card; buffers stay in host memory",
  directml: "graphics card through Direct3D 12; buffers stay in host memory",
};

/**
 * An engine over onnxruntime-node. Buffers live in host memory whatever the device; outputs are written in place on the CPU.
 * A run blocks the thread that asked for it: see `inWorker`. Throws ENGINE_ABSENT when the device is not there.
 */
export async function onnxRuntimeNode({ device = "cpu", threads }: OnnxRuntimeNodeOptions = {}): Promise<Engine> {
  const count = threads ?? defaultThreads();
  if (!Number.isInteger(count) || count < 1)
    throw new ArgumentError(`An engine needs a whole number of threads from 1, but ${count} was given.`);
  if (!nodeDevices.includes(device))
    throw new ArgumentError(`onnxruntime-node has the devices ${nodeDevices.join(", ")}, but '${device}' was asked for.`);
  const absent = await whyAbsent(device);
  if (absent !== undefined) throw new TsumikiError("ENGINE_ABSENT", absent);
  const onCpu = device === "cpu";
  return sessionEngine({
    name: "onnxruntime-node",
    device,
    version: onnxRuntimeNodeVersion,
    threads: count,
    lowering: loweringFor(device),
    runtime: async () => ort,
    sessionSource: async (source) => sessionSource(source, device, count),
    ...(onCpu ? { fillOutputs: runInPlace } : {}),
  });
}

function sessionSource(source: ModelSource, device: NodeDevice, threads: number): SessionSource {
  let model = source.onnx();
  let folder: string | undefined;
  if (source.externalFiles.length > 0) ({ model, folder } = locateExternalFiles(model, source.externalFiles));
  return {
    model: device === "cpu" ? withStopOutput(model) : model,
    options: {
      ...sessionOptions(device, threads),
      extra: {
        session: {
          // Threads that wait spin for so long before they sleep. ONNX Runtime's own default takes processors from other programs,
          // and from itself where there are more threads than processors: the small training step of the benches ran at 2–3 k
          // tokens/s beside other work instead of 11 k; on an idle machine at 22.7 k instead of 23.6 k.
          intra_op: { spin_duration_us: "20" },
          ...(folder !== undefined && { model_external_initializers_file_folder_path: folder }),
        },
      },
    },
  };
}

const sessionOptions = (device: NodeDevice, threads: number): ort.InferenceSession.SessionOptions => ({
  executionProviders: [providerNames[device]],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  // Passes and the CPU's lowering have done what the higher levels look for. A training step of 32 layers was loaded in 2.2 s
  // of CPU time instead of 4.0, and ran as fast.
  graphOptimizationLevel: device === "cpu" ? "basic" : "all",
  // The planned block comes on top of what the arena has grown to in the first run: 6.2 GB instead of 4.4 GB for the
  // training step of 29 M parameters, at the same speed.
  enableMemPattern: false,
  logSeverityLevel: 4, // what goes wrong is thrown
});

/** The smallest model there is: one input, given back. */
function probeModel(): Uint8Array {
  const x = input("x", "float32", [1]);
  return writeOnnx({ inputs: new Map([["x", x]]), outputs: new Map([["y", x]]) });
}

/** Why a device cannot be used here; `undefined` when it can. */
async function whyAbsent(device: NodeDevice): Promise<string | undefined> {
  const backend = ort.listSupportedBackends().find(({ name }) => name === providerNames[device]);
  if (!backend) return `onnxruntime-node has no '${device}' on ${process.platform} ${process.arch}. ${deviceHints[device]}`;
  if (device === "cpu") return undefined;
  // Asked of ONNX Runtime, it would also complain on standard error.
  if (device === "cuda" && !existsSync(cudaLibrary()))
    return `onnxruntime-node's libraries for CUDA are not installed. ${deviceHints.cuda}`;
  try {
    const session = await ort.InferenceSession.create(probeModel(), sessionOptions(device, 1));
    await session.release();
    return undefined;
  } catch (error) {
    return `onnxruntime-node found no device '${device}': ${plainMessage(error).replace(/[.]$/, "")}. ${deviceHints[device]}`;
  }
}

/** Fetched by the package's install script, which package managers may have been told not to run. */
const cudaLibrary = (): string =>
  join(
    dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json")),
    `bin/napi-v6/${process.platform}/${process.arch}/libonnxruntime_providers_cuda.so`,
  );

/** All devices of onnxruntime-node, each tried. */
export async function detectNodeDevices(): Promise<readonly DeviceReport[]> {
  const reports: DeviceReport[] = [];
  for (const device of nodeDevices) {
    const absent = await whyAbsent(device);
    reports.push({ device, present: absent === undefined, detail: absent ?? deviceDetails[device] });
  }
  return reports;
}
