/** A WebGPU device for tests in Node: a graphics card, or Chromium's software Vulkan. */

import { existsSync } from "node:fs";
import type { Engine } from "../engine.js";
import { onnxRuntimeNode } from "../onnxruntime/node.js";

/** Where Debian's chromium puts its software Vulkan. */
const softwareVulkan = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** The engine, or why there is none. */
export async function webgpuEngine(): Promise<Engine | Error> {
  const noCard = process.platform === "linux" && !existsSync("/dev/dri") && !existsSync("/dev/nvidiactl");
  if (noCard && !process.env.VK_ICD_FILENAMES && existsSync(softwareVulkan))
    process.env.VK_ICD_FILENAMES = process.env.VK_DRIVER_FILES = softwareVulkan;
  try {
    return await onnxRuntimeNode({ device: "webgpu" });
  } catch (error) {
    return error as Error;
  }
}
