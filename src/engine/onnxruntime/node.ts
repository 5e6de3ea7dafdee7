/** ONNX Runtime in Node: the engine that arrives whole with `npm install`. */

import * as ort from "onnxruntime-node";
import { defaultThreads } from "#platform/engine/threads";
import { ArgumentError, TsumikiError } from "../../errors.js";
import type { Engine, ModelSource } from "../engine.js";
import { loadNative } from "../native.node.js";
import type { DeviceReport } from "../provider.js";
import { plainMessage } from "./errors.js";
import { locateExternalFiles } from "./external-files.node.js";
import { runInPlace, withStopOutput } from "./in-place.js";
import { loweringFor } from "./lowerings.js";
import { isNodeDevice, type NodeDevice, nodeDevices, whyNotInstalled } from "./node-devices.node.js";
import { holdDevice, type SessionSource, sessionEngine } from "./session-engine.js";

export interface OnnxRuntimeNodeOptions {
  /** Default: `cpu`. */
  readonly device?: NodeDevice;
  /** Threads that one operator may use on the CPU. Default: one for each physical core. */
  readonly threads?: number;
}

export const onnxRuntimeNodeVersion: string = ort.env.versions.node ?? ort.env.versions.common;

/**
 * An engine over onnxruntime-node. Buffers live in host memory whatever the device; outputs are written in place on the CPU.
 * A run blocks the thread that asked for it: see `inWorker`. Throws ENGINE_ABSENT when the device is not there.
 */
export async function onnxRuntimeNode({ device = "cpu", threads }: OnnxRuntimeNodeOptions = {}): Promise<Engine> {
  const count = threads ?? defaultThreads();
  if (!Number.isInteger(count) || count < 1)
    throw new ArgumentError(`An engine needs a whole number of threads from 1, but ${count} was given.`);
  if (!isNodeDevice(device))
    throw new ArgumentError(
      `onnxruntime-node has the devices ${Object.keys(nodeDevices).join(", ")}, but '${String(device)}' was asked for.`,
    );
  const notInstalled = whyNotInstalled(device);
  if (notInstalled !== undefined) throw new TsumikiError("ENGINE_ABSENT", notInstalled);
  // For what it does to freed memory; ONNX Runtime works without it.
  if (device === "cpu") await loadNative().catch(() => undefined);
  const engine = await sessionEngine({
    name: "onnxruntime-node",
    device,
    version: onnxRuntimeNodeVersion,
    threads: count,
    lowering: loweringFor(device),
    runtime: async () => ort,
    sessionSource: async (source) => sessionSource(source, device, count),
    ...(device === "cpu" ? { fillOutputs: runInPlace } : {}),
  });
  if (device === "cpu") return engine;
  try {
    await holdDevice(engine);
    return engine;
  } catch (error) {
    const reason = plainMessage((error as Error).cause).replace(/[.]$/, "");
    const message = `onnxruntime-node found no device '${device}': ${reason}. ${nodeDevices[device].hint}`;
    throw new TsumikiError("ENGINE_ABSENT", message, { cause: error });
  }
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

export const sessionOptions = (device: NodeDevice, threads: number): ort.InferenceSession.SessionOptions => ({
  executionProviders: [nodeDevices[device].provider],
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

/** All devices of onnxruntime-node, each tried. */
export async function detectNodeDevices(): Promise<readonly DeviceReport[]> {
  const reports: DeviceReport[] = [];
  for (const device of Object.keys(nodeDevices) as NodeDevice[]) {
    try {
      const engine = await onnxRuntimeNode({ device });
      await engine.close();
      reports.push({ device, present: true, detail: nodeDevices[device].description });
    } catch (error) {
      reports.push({ device, present: false, detail: (error as Error).message });
    }
  }
  return reports;
}
