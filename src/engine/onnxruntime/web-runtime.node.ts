/** onnxruntime-web in Node: WebAssembly alone. The package reads its .wasm file from its own folder. */

import type { WebDevice, WebRuntime } from "./web.js";

export const loadWebRuntime = (_device: WebDevice): Promise<WebRuntime> => import("onnxruntime-web");

export async function whyAbsent(device: WebDevice): Promise<string | undefined> {
  if (device === "webgpu") return "In Node, WebGPU is a device of onnxruntime-node: ask for the engine 'onnxruntime-node'.";
  return undefined;
}

export const isSoftwareGpu = async (): Promise<boolean> => false;

/** Node lets WebAssembly use threads. */
export const whyNoThreads = (): string | undefined => undefined;
