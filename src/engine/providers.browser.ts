/** The engines of a page, the fastest first. */

import type { EngineProvider } from "./provider.js";
import { referenceProvider, webProvider } from "./providers.js";

export const engineProviders: readonly EngineProvider[] = [webProvider(["webgpu", "wasm"]), referenceProvider];
