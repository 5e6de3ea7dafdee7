/** The engine that programs run on when nobody says otherwise. */

import { defaultOptions } from "#platform/engine/default-options";
import type { Engine } from "./engine.js";

let current: Promise<Engine> | undefined;

/**
 * The default engine: the one that was set, else the fastest that is present, in a page in a worker (made when it is first
 * needed).
 */
export function defaultEngine(): Promise<Engine> {
  current ??= import("./registry.js").then(({ createEngine }) => createEngine(defaultOptions()));
  return current;
}

/** Chooses the engine of every program that is compiled from now on without one. */
export function setDefaultEngine(engine: Engine | Promise<Engine>): void {
  current = Promise.resolve(engine);
}
