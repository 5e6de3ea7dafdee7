/** Choosing an engine by name. */

import { engineProviders } from "#platform/engine/providers";
import { ArgumentError, TsumikiError } from "../errors.js";
import { type Device, type Engine, type Lowering, noLowering } from "./engine.js";
import type { DeviceReport, EngineProvider } from "./provider.js";

export interface EngineOptions {
  /** `openvino`, `onnxruntime` (onnxruntime-node in Node, onnxruntime-web in a page), either of those two, or `reference`. Default: `auto`. */
  readonly engine?: string;
  /** Default: `auto`, the fastest that is sure to be here. */
  readonly device?: Device | "auto";
  /** Threads that one operator may use. Default: about one for each core. */
  readonly threads?: number;
  /** OpenVINO: a folder in which compiled models are kept, so that the next time they are loaded at once. Default: none are. */
  readonly cacheFolder?: string;
  /** Run in a worker, so that this thread stays responsive. Default: false. */
  readonly worker?: boolean;
  /** onnxruntime-web in a page: where its .wasm and .mjs files are served. Default: where the bundler put them. */
  readonly wasmPaths?: string;
}

/**
 * The engine that was asked for. Throws ENGINE_ABSENT, with what to install or set, when it or its device is not here, and
 * an ArgumentError for names that do not exist.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  const { worker = false, ...inside } = options;
  if (worker) return (await import("./worker/engine.js")).inWorker(inside);
  const { engine = "auto", device = "auto", ...settings } = options;
  const candidates = engineProviders.filter(({ name, family }) => engine === "auto" || engine === name || engine === family);
  if (candidates.length === 0)
    throw new ArgumentError(`No engine is called '${engine}' here. Engines: ${describe(engineProviders)}.`);
  const able = candidates.filter(({ devices }) => device === "auto" || devices.includes(device));
  if (able.length === 0)
    throw new ArgumentError(
      `${engine === "auto" ? "No engine here has a" : `The engine '${engine}' has no`} device '${device}'. There are: ${describe(candidates)}.`,
    );

  let firstAbsence: unknown;
  for (const provider of able) {
    try {
      const chosen = device === "auto" ? await provider.preferredDevice() : device;
      if (chosen) return await provider.create({ ...settings, device: chosen });
    } catch (error) {
      if (!(error instanceof TsumikiError) || error.code !== "ENGINE_ABSENT") throw error;
      firstAbsence ??= error;
    }
  }
  throw firstAbsence ?? new TsumikiError("ENGINE_ABSENT", `No device of ${describe(able)} is present here.`);
}

/** The lowering of an engine that is elsewhere. */
export async function loweringOf(name: string, device: Device): Promise<Lowering> {
  return (await engineProviders.find((provider) => provider.name === name)?.lowering(device)) ?? noLowering;
}

const describe = (providers: readonly EngineProvider[]): string =>
  providers.map(({ name, devices }) => `${name} (${devices.join(", ")})`).join(", ");

export interface EngineReport {
  readonly engine: string;
  readonly devices: readonly DeviceReport[];
  /** Absent when the engine could not be loaded; `problem` then says why. */
  readonly version?: string;
  readonly problem?: string;
}

/** Every engine of this platform with what was found of it. */
export async function detectEngines(): Promise<readonly EngineReport[]> {
  const reports: EngineReport[] = [];
  for (const { name, detect } of engineProviders) {
    try {
      reports.push({ engine: name, ...(await detect()) });
    } catch (error) {
      reports.push({ engine: name, devices: [], problem: error instanceof Error ? error.message : String(error) });
    }
  }
  return reports;
}
