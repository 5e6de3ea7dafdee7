/** Adapters that are one small module on each target: all that most methods need. */

import type { Module } from "../nn/module.js";
import { type Adaptation, Adapter } from "./adapter.js";
import type { Target } from "./targets.js";

export interface AdapterDescription {
  /** The name in the registry. */
  readonly method: string;
  /** With which the method makes the adapter again. */
  readonly settings: object;
  /** Of initial values. */
  readonly seed: number;
}

/** What stands on one target: an adaptation whose parameters are its properties. */
export type AdaptationModule = Module & Adaptation;

export class SiteAdapter<A extends AdaptationModule = AdaptationModule> extends Adapter {
  readonly method: string;
  readonly settings: object;
  /** By the path of the module that each stands on. */
  readonly sites: ReadonlyMap<string, A>;

  constructor(
    model: Module,
    { method, settings, seed }: AdapterDescription,
    targets: readonly Pick<Target, "path" | "module">[],
    make: (index: number) => A,
  ) {
    super(model);
    this.method = method;
    this.settings = settings;
    const adapted = targets.map(({ path, module }, i) => ({ path, module, adaptation: make(i) }));
    this.sites = new Map(adapted.map(({ path, adaptation }) => [path, adaptation]));
    this.initialize(seed);
    this.attach(adapted);
  }
}

/** Puts what `make` gives on each target. The model is frozen until the adapter is detached. */
export const adapt = <T extends Pick<Target, "path" | "module">, A extends AdaptationModule>(
  model: Module,
  description: AdapterDescription,
  targets: readonly T[],
  make: (target: T) => A,
): SiteAdapter<A> => new SiteAdapter(model, description, targets, (i) => make(targets[i] as T));
