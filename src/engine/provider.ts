/** What an engine says about itself before it exists. A new engine is one more provider in `providers.node.ts` or its sibling. */

import type { Device, Engine, Lowering } from "./engine.js";

/** One device of an engine, as found here. */
export interface DeviceReport {
  readonly device: Device;
  readonly present: boolean;
  /** What it is when it is present, else how to get it. */
  readonly detail: string;
}

export interface EngineSettings {
  readonly device: Device;
  readonly threads?: number;
  /** A folder for compiled models, where the engine can keep them. */
  readonly cacheFolder?: string;
  /** onnxruntime-web in a page: where its .wasm and .mjs files are served. */
  readonly wasmPaths?: string;
}

export interface EngineProvider {
  /** `onnxruntime-node` */
  readonly name: string;
  /** A name that several providers answer to: `onnxruntime` is onnxruntime-node or onnxruntime-web. */
  readonly family: string;
  readonly devices: readonly Device[];
  /** The fastest device that is sure to be here, found out quickly; `undefined` or ENGINE_ABSENT, with what to install, when there is none. */
  preferredDevice(): Promise<Device | undefined>;
  /** How programs are told to this engine on a device. */
  lowering(device: Device): Promise<Lowering>;
  /** Looks for every device; may take a second. */
  detect(): Promise<{ readonly version: string; readonly devices: readonly DeviceReport[] }>;
  /** Throws ENGINE_ABSENT, with what to install, when the device is not there. */
  create(settings: EngineSettings): Promise<Engine>;
}
