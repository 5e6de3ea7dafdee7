/** The engines that Node and pages share. */

import { noLowering } from "./engine.js";
import type { WebDevice } from "./onnxruntime/web.js";
import type { EngineProvider } from "./provider.js";

/** onnxruntime-web with those of its devices that this platform can have, the fastest first. */
export const webProvider = (devices: readonly WebDevice[]): EngineProvider => ({
  name: "onnxruntime-web",
  family: "onnxruntime",
  devices,
  lowering: async (device) => (await import("./onnxruntime/lowerings.js")).loweringFor(device),
  async preferredDevice() {
    const { isWebDeviceFast } = await import("./onnxruntime/web.js");
    for (const device of devices) if (await isWebDeviceFast(device)) return device;
    return undefined;
  },
  async detect() {
    const { detectWebDevices } = await import("./onnxruntime/web.js");
    return detectWebDevices(devices);
  },
  async create({ device, ...settings }) {
    const { onnxRuntimeWeb } = await import("./onnxruntime/web.js");
    return onnxRuntimeWeb({ device: device as WebDevice, ...settings });
  },
});

export const referenceProvider: EngineProvider = {
  name: "reference",
  family: "reference",
  devices: ["cpu"],
  lowering: async () => noLowering,
  preferredDevice: async () => "cpu",
  detect: async () => ({
    version: "float64",
    devices: [{ device: "cpu", present: true, detail: "plain TypeScript in float64: the definition, slow" }],
  }),
  create: async () => (await import("./reference/engine.js")).referenceEngine(),
};
