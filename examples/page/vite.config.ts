/** How Vite serves and builds pages with Tsumiki: `npx vite examples/page`. */

import { defineConfig } from "vite";

/** WebAssembly may use threads in pages that come with these two headers. */
export const isolation = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export default defineConfig({
  base: "./",
  // A page outside this repository needs no conditions: it gets what the package has in dist/.
  resolve: { conditions: ["tsumiki-source", "browser", "module"] },
  worker: { format: "es" }, // the engine's worker loads its parts when it needs them
  build: { target: "es2023" },
  server: { headers: isolation },
  preview: { headers: isolation },
  optimizeDeps: { exclude: ["onnxruntime-web"] }, // it looks for its .wasm files beside itself
});
