/** Models beside the one that is trained: what they compute is given, and no gradient flows into them. */

import { stopGradient } from "../graph/custom-gradient.js";
import { Tensor } from "../graph/tensor.js";
import { withTraining } from "../graph/trace.js";
import type { Model } from "../models/model.js";
import { withRoot } from "../nn/module.js";

/** `reference`: what the model was; `teacher`: what it is to become like; `critic`: what it may expect; `reward`: what it gets. */
export type Companion = "reference" | "teacher" | "critic" | "reward";

/** Runs a function in some circumstances: without an adapter, for example. */
export type Around = <R>(fn: () => R) => R;

/**
 * The model as a companion: whatever is called on it runs without dropout, without gradients, and under its own root, so that its values
 * are called `teacher.layers.0.output` and so on.
 */
export function companionModel<M extends Model>(name: Companion, model: M, around: Around = (fn) => fn()): M {
  const methods = new Map<PropertyKey, unknown>();
  return new Proxy(model, {
    get(target, key) {
      const value = Reflect.get(target, key, target); // private fields are the target's
      if (typeof value !== "function") return value;
      if (!methods.has(key))
        methods.set(key, (...args: unknown[]) =>
          withRoot(name, () =>
            withTraining(false, () =>
              around(() => withoutGradient((value as (...given: unknown[]) => unknown).apply(target, args))),
            ),
          ),
        );
      return methods.get(key);
    },
  });
}

const withoutGradient = (result: unknown): unknown => (result instanceof Tensor ? stopGradient(result) : result);
