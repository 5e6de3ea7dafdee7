/** What all tuning methods share: a model that is frozen, a few parameters beside it, and both made one in the end. */

import { saveAdapter } from "#platform/tuning/adapter-files";
import type { Engine } from "../engine/engine.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { HostArray } from "../graph/host-array.js";
import { currentTrace } from "../graph/trace.js";
import type { Variable } from "../graph/variable.js";
import { Module } from "../nn/module.js";
import {
  type EffectiveValues,
  type Parametrization,
  parametrizationChanged,
  parametrize,
  unparametrize,
  type WeightedModule,
} from "../nn/parametrization.js";
import { hold, release } from "./frozen-base.js";
import { isLast, type Merge, mergeOf, mergeOne, type Original, restore } from "./merge.js";

/** What an adapter puts on one use of one module. Its parameters are found by walking it. */
export interface Adaptation extends Parametrization {
  /**
   * The module's values with this in them. Needed by what stands around a map or a lookup, and absent where it would change another
   * use of the weight.
   */
  merged?(values: EffectiveValues): EffectiveValues;
}

export interface Adapted {
  /** The property path from the model. */
  readonly path: string;
  readonly module: WeightedModule;
  readonly adaptation: Adaptation;
}

export interface SaveAdapterOptions {
  /** Where the base model comes from (`org/name` or a directory), as Python's peft notes it. Default: nothing. */
  readonly base?: string;
}

/** How an adapter lies on disk. */
export interface AdapterFiles {
  /** `adapter_config.json` */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors by their names; those that are made of variables when they are written. */
  readonly tensors: ReadonlyMap<string, Variable | DerivedTensor>;
}

export interface DerivedTensor {
  readonly shape: readonly number[];
  read(): Promise<HostArray>;
}

let suspended = 0;

/** Runs `fn` as if no adapter was on any model: the reference of preference learning is the model without its adapter. */
export const withoutAdapters = <R>(fn: () => R): R =>
  suspendedWhile(
    (by) => {
      suspended += by;
    },
    fn,
    "withoutAdapters()",
  );

function suspendedWhile<R>(count: (by: number) => void, fn: () => R, name: string): R {
  if (!currentTrace())
    throw new TsumikiError(
      "TRACE",
      `${name} belongs inside a compiled function, around the model's calls. Outside, switch the adapter off: adapter.enabled = false.`,
    );
  count(1);
  try {
    return fn();
  } finally {
    count(-1);
  }
}

/**
 * Parameters beside a model, which is frozen while they are on it. An optimizer trains the adapter, `new AdamW(adapter)`: the model's
 * own parameters have no gradients and no state. Programs that were compiled before follow every change here.
 */
export abstract class Adapter extends Module {
  /** The name in the registry. */
  abstract readonly method: string;
  /** With which `method` makes this adapter again. */
  abstract readonly settings: object;
  readonly #model: Module;
  #adapted: readonly Adapted[] = [];
  #originals: Map<Variable, Original> | undefined;
  #suspended = 0;
  #enabled = true;
  #attached = false;

  constructor(model: Module) {
    super();
    this.#model = model;
  }

  /** The model below. */
  get model(): Module {
    return this.#model;
  }

  get adapted(): readonly Adapted[] {
    return this.#adapted;
  }

  /** What is written to disk. Methods that Python's peft has too write what that reads. */
  files(_options: SaveAdapterOptions): AdapterFiles {
    return { config: { tuning: { method: this.method, ...this.settings } }, tensors: this.variables() };
  }

  /** Called once, when everything is known. */
  protected attach(adapted: readonly Adapted[]): void {
    for (const parameter of this.#model.parameters().values()) hold(parameter);
    const isActive = () => this.#enabled && !this.isMerged && suspended === 0 && this.#suspended === 0;
    this.#adapted = adapted;
    for (const { module, adaptation } of adapted) {
      adaptation.isActive = isActive;
      parametrize(module, adaptation);
    }
    this.#attached = true;
  }

  /** Whether it takes effect. Switched off, the model computes as if there was no adapter. */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(on: boolean) {
    this.#enabled = on;
    this.#changed();
  }

  /** Runs `fn`, inside a compiled function, as if this adapter was not on its model. */
  without<R>(fn: () => R): R {
    return suspendedWhile(
      (by) => {
        this.#suspended += by;
      },
      fn,
      "without()",
    );
  }

  /** Takes the adapter off: the model is what it was, and its parameters are trained again unless they were frozen before. */
  detach(): void {
    if (!this.#attached) return;
    if (this.isMerged)
      throw new TsumikiError("STATE", "This adapter is merged: its model keeps it for good. Call unmerge() before detach().");
    for (const { module, adaptation } of this.#adapted) unparametrize(module, adaptation);
    for (const parameter of this.#model.parameters().values()) release(parameter);
    this.#attached = false;
  }

  get isMerged(): boolean {
    return this.#originals !== undefined;
  }

  /** The path of the first module whose weight cannot take the adapter, because another layer shares it; `undefined` where all can. */
  get unmergeable(): string | undefined {
    return this.#adapted.find(({ module, adaptation }) => !mergeOf(module, adaptation))?.path;
  }

  /**
   * Writes the adapter into the model's own weights: it computes the same without any extra work, and saves as a model of its own. The
   * adapter's parameters are not trained while it is merged.
   *
   * @throws ArgumentError where a weight has another use that would change too (one of two tied layers is adapted); nothing is merged
   */
  async merge(engine?: Engine | Promise<Engine>): Promise<void> {
    if (!this.#attached || this.isMerged)
      throw new TsumikiError("STATE", `This adapter is ${this.isMerged ? "merged already" : "not on a model any more"}.`);
    if (this.unmergeable !== undefined)
      throw new ArgumentError(
        `${this.unmergeable} shares its weight with another layer that this adapter leaves as it is: merged into the weight, it would change both. ` +
          "Use it without merging, or make it with ensureWeightTying.",
      );
    const originals = new Map<Variable, Original>();
    try {
      for (const { module, adaptation } of this.#adapted)
        await mergeOne(module, mergeOf(module, adaptation) as Merge, originals, engine);
    } catch (error) {
      restore(originals);
      throw error;
    }
    this.#originals = originals;
    for (const parameter of this.parameters().values()) parameter.trainable = false;
    this.#changed();
  }

  /**
   * Gives the model the weights back that it had before, bit for bit.
   *
   * @throws TsumikiError STATE where they have changed since, by training or by another adapter; nothing is changed
   */
  unmerge(): void {
    if (!this.#originals) throw new TsumikiError("STATE", "This adapter is not merged.");
    for (const [variable, original] of this.#originals)
      if (!isLast(variable, original))
        throw new TsumikiError(
          "STATE",
          `${variable.describe()} has changed since the adapter was merged: the old value would undo that.`,
        );
    restore(this.#originals);
    this.#originals = undefined;
    for (const parameter of this.parameters().values()) parameter.trainable = true;
    this.#changed();
  }

  /**
   * Writes the adapter alone, as `adapter_config.json` and `adapter_model.safetensors`; Python's peft reads those of methods that it has
   * too (Node).
   */
  async save(directory: string, options: SaveAdapterOptions = {}): Promise<void> {
    await saveAdapter(this, directory, options);
  }

  #changed(): void {
    for (const { module } of this.#adapted) parametrizationChanged(module);
  }
}
