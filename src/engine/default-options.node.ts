/** How Node gets its engine when nobody chooses one. */

import type { EngineOptions } from "./registry.js";

/** In this thread: outputs are then written in place, and a command has nothing else to do meanwhile. */
export const defaultOptions = (): EngineOptions => ({});
