/**
 * onnxruntime-web in a page. It comes in builds for one device each; the one with WebGPU is also the slower one on
 * WebAssembly, and twice as large.
 */

import type { WebDevice, WebRuntime } from "./web.js";

export const loadWebRuntime = (device: WebDevice): Promise<WebRuntime> =>
  device === "webgpu" ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm");

/** The part of the WebGPU interface that is looked at here. */
interface Gpu {
  requestAdapter(): Promise<{ readonly info?: { readonly isFallbackAdapter?: boolean; readonly architecture?: string } } | null>;
}

const gpuOf = (scope: object): Gpu | undefined => (scope as { readonly gpu?: Gpu }).gpu;

export async function whyAbsent(device: WebDevice): Promise<string | undefined> {
  if (device === "wasm") return typeof WebAssembly === "undefined" ? "This browser has no WebAssembly." : undefined;
  const gpu = gpuOf(navigator);
  if (!gpu) return "This browser has no WebGPU, or this page does not come from HTTPS or localhost, which WebGPU needs.";
  if (!(await gpu.requestAdapter())) return "The browser knows WebGPU but offers no graphics card for it.";
  return undefined;
}

/** Whether WebGPU is here, but computed on the CPU. */
export async function isSoftwareGpu(): Promise<boolean> {
  const info = (await gpuOf(navigator)?.requestAdapter())?.info;
  return info?.isFallbackAdapter === true || info?.architecture === "swiftshader";
}

/** Threads of WebAssembly share memory, which a browser allows to isolated pages alone. */
export const whyNoThreads = (): string | undefined =>
  globalThis.crossOriginIsolated
    ? undefined
    : "this page is not cross-origin isolated. Serve it with the headers `Cross-Origin-Opener-Policy: same-origin` and " +
      "`Cross-Origin-Embedder-Policy: require-corp` to let WebAssembly use threads";
