/** Which lowering goes with which device. */

import { type Device, type Lowering, noLowering } from "../engine.js";
import { cpuLowering } from "./lowering-cpu.js";
import { webgpuLowering } from "./lowering-webgpu.js";

/** WebAssembly runs the CPU provider's kernels. */
const lowerings: Partial<Readonly<Record<Device, Lowering>>> = {
  cpu: cpuLowering,
  wasm: cpuLowering,
  webgpu: webgpuLowering,
};

export const loweringFor = (device: Device): Lowering => lowerings[device] ?? noLowering;
