/** The engines of Node, the fastest first. */

import { TsumikiError } from "../errors.js";
import type { EngineProvider } from "./provider.js";
import { referenceProvider, webProvider } from "./providers.js";

/** Loaded when it is needed: on a platform without a build of it, the other engines still work. */
async function loadNodeEngine() {
  try {
    return await import("./onnxruntime/node.js");
  } catch (error) {
    throw new TsumikiError(
      "ENGINE_ABSENT",
      `onnxruntime-node could not be loaded on ${process.platform} ${process.arch}: ${(error as Error).message}\n` +
        "Install it with `npm install onnxruntime-node`. It has builds for Linux (glibc; x64, arm64), macOS (arm64) and Windows " +
        "(x64, arm64); elsewhere the device `wasm` works.",
      { cause: error },
    );
  }
}

const nodeProvider: EngineProvider = {
  name: "onnxruntime-node",
  family: "onnxruntime",
  devices: ["cpu", "cuda", "webgpu", "coreml", "directml"],
  lowering: async (device) => (await import("./onnxruntime/lowerings.js")).loweringFor(device),
  preferredDevice: async () => "cpu",
  async detect() {
    const { detectNodeDevices, onnxRuntimeNodeVersion } = await loadNodeEngine();
    return { version: onnxRuntimeNodeVersion, devices: await detectNodeDevices() };
  },
  async create({ device, threads }) {
    const { onnxRuntimeNode } = await loadNodeEngine();
    return onnxRuntimeNode({ device: device as "cpu", ...(threads === undefined ? {} : { threads }) });
  },
};

const openVinoProvider: EngineProvider = {
  name: "openvino",
  family: "openvino",
  devices: ["cpu"],
  lowering: async () => (await import("./openvino/lowering.js")).openVinoLowering,
  async preferredDevice() {
    await (await import("./openvino/library.node.js")).findOpenVino();
    return "cpu";
  },
  async detect() {
    const { findOpenVino } = await import("./openvino/library.node.js");
    const { library, core, version, path, origin } = await findOpenVino();
    const detail = `${library.property(core, "CPU", "FULL_DEVICE_NAME").trim()}; ${origin}, ${path}`;
    return { version, devices: [{ device: "cpu", present: true, detail }] };
  },
  async create({ threads, cacheFolder }) {
    const { openVino } = await import("./openvino/engine.js");
    return openVino({ ...(threads !== undefined && { threads }), ...(cacheFolder !== undefined && { cacheFolder }) });
  },
};

export const engineProviders: readonly EngineProvider[] = [
  openVinoProvider,
  nodeProvider,
  webProvider(["wasm"]),
  referenceProvider,
];
