/** How a page gets its engine when it does not choose one. */

import type { EngineOptions } from "./registry.js";

/** In a worker, because a run would freeze the page; a worker of the page's own may as well wait itself. */
export const defaultOptions = (): EngineOptions => ({ worker: typeof document !== "undefined" });
