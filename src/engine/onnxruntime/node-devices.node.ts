/** The devices of onnxruntime-node: which there are, and how to get them. */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { listSupportedBackends } from "onnxruntime-node";
import type { Device } from "../engine.js";

export type NodeDevice = Exclude<Device, "wasm">;

interface NodeDeviceInfo {
  /** What ONNX Runtime calls the execution provider. */
  readonly provider: string;
  readonly description: string;
  /** What to install or set where it is missing. */
  readonly hint: string;
}

export const nodeDevices: Readonly<Record<NodeDevice, NodeDeviceInfo>> = {
  cpu: {
    provider: "cpu",
    description: "training and inference; the default in Node where there is no OpenVINO",
    hint: "onnxruntime-node has builds for Linux (x64, arm64), macOS (arm64) and Windows (x64, arm64).",
  },
  webgpu: {
    provider: "webgpu",
    description: "graphics card through Vulkan, Metal or Direct3D 12; buffers stay in host memory",
    hint:
      "It needs a graphics card with a driver for Vulkan, Metal or Direct3D 12. On Linux without a card, a software Vulkan " +
      "driver will do: set VK_ICD_FILENAMES to its vk_*_icd.json.",
  },
  cuda: {
    provider: "cuda",
    description: "NVIDIA card; buffers stay in host memory",
    hint:
      "It needs Linux x64, an NVIDIA card, CUDA 12 and cuDNN 9, and the libraries that onnxruntime-node's install script " +
      "fetches: `npm rebuild onnxruntime-node --ignore-scripts=false`.",
  },
  coreml: {
    provider: "coreml",
    description: "Apple's neural engine and graphics card; buffers stay in host memory",
    hint: "It is part of macOS.",
  },
  directml: {
    provider: "dml",
    description: "graphics card through Direct3D 12; buffers stay in host memory",
    hint: "It is part of Windows 10 and later.",
  },
};

export const isNodeDevice = (name: string): name is NodeDevice => Object.hasOwn(nodeDevices, name);

/** What shows without trying: why a device cannot be here; `undefined` when it may be. */
export function whyNotInstalled(device: NodeDevice): string | undefined {
  const { provider, hint } = nodeDevices[device];
  if (!listSupportedBackends().some(({ name }) => name === provider))
    return `onnxruntime-node has no '${device}' on ${process.platform} ${process.arch}. ${hint}`;
  // Asked of ONNX Runtime, it would also complain on standard error.
  if (device === "cuda" && !existsSync(cudaLibrary())) return `onnxruntime-node's libraries for CUDA are not installed. ${hint}`;
  return undefined;
}

/** Fetched by the package's install script, which package managers may have been told not to run. */
const cudaLibrary = (): string =>
  join(
    dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json")),
    `bin/napi-v6/${process.platform}/${process.arch}/libonnxruntime_providers_cuda.so`,
  );
