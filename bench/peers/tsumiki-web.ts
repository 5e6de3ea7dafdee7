/** Tsumiki on onnxruntime-web, in a page of headless Chromium: on WebAssembly, or on WebGPU (SwiftShader's where there is no graphics card). */

import { chromiumAbsent, findChromium, openModule } from "../../test/browser/chromium.js";
import { PeerAbsent, type PeerConfig, peakMemoryOf, servePeer } from "../protocol.js";

await servePeer(async (config: PeerConfig) => {
  if (!findChromium()) throw new PeerAbsent(chromiumAbsent);
  const { browser, call } = await openModule<typeof import("./tsumiki-web.page.js")>("bench/peers/tsumiki-web.page.ts", {
    webgpu: config.mode === "webgpu",
  });
  const ready = await call("prepare", config);
  const devTools = await browser.newBrowserCDPSession();
  const memory = async (): Promise<number> => {
    // The page with its workers is one process; WebGPU computes in another.
    const { processInfo } = await devTools.send("SystemInfo.getProcessInfo");
    const computing = processInfo.filter(({ type }) => type === "renderer" || type === "GPU");
    return computing.reduce((total, { id }) => total + peakMemoryOf(id), 0);
  };
  return {
    ready: { ...ready, versions: { ...ready.versions, chromium: browser.version() } },
    run: (count) => call("run", count),
    peakMemoryBytes: memory,
  };
});
