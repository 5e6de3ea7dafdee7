/**
 * Modules: plain classes whose parameters are found by walking their properties. A property path is a parameter's name
 * (`layers.3.selfAttn.qProj.weight`), and the path of what `forward` is tracing names values inside a program.
 */

import { ArgumentError } from "../errors.js";
import { Tensor } from "../graph/tensor.js";
import { currentScope, named, withScope } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";

/** Modules that are being traced (their `forward`, or a method that asks for it), the root first. */
const running: Module[] = [];
/** Those of them whose `forward` is running. */
const forwarding: Module[] = [];

const wrapped = new WeakSet<object>();

/**
 * Base of everything with parameters. `forward` runs under the module's path, and its result can be fetched from a
 * compiled program as `path.output`.
 */
export abstract class Module {
  constructor() {
    wrapForward(new.target.prototype);
  }

  /** Every variable below this module by path, shared ones under their first path only. */
  variables(): ReadonlyMap<string, Variable> {
    const found = new Map<string, Variable>();
    const seen = new Set<object>();
    walk(this, "", seen, (path, value) => {
      if (value instanceof Variable) found.set(path, value);
    });
    return found;
  }

  /** The parameters among them, frozen ones included. */
  parameters(): ReadonlyMap<string, Parameter> {
    return new Map([...this.variables()].filter((entry): entry is [string, Parameter] => entry[1] instanceof Parameter));
  }

  /** Gives every variable its path and, where it has no value yet, the seed of its initial value. */
  initialize(seed: number): this {
    for (const [path, variable] of this.variables()) {
      variable.path = path;
      variable.seedInitialValue(seed);
    }
    return this;
  }

  /** Runs `fn` under this module's path, as `forward` does; for further methods that trace. */
  protected within<R>(fn: () => R): R {
    return running.at(-1) === this ? fn() : inScope(this, fn);
  }

  /** Stops (or resumes) the training of the parameters whose paths match. Returns how many did. */
  freeze(pattern: RegExp, frozen = true): number {
    const matching = [...this.parameters()].filter(([path]) => path.search(pattern) >= 0);
    if (matching.length === 0)
      throw new ArgumentError(
        `No parameter matches ${pattern}. There are: ${[...this.parameters().keys()].slice(0, 8).join(", ")}, ...`,
      );
    for (const [, parameter] of matching) parameter.trainable = !frozen;
    return matching.length;
  }
}

function wrapForward(prototype: object): void {
  // Every class between this one and Module may define a forward; each is wrapped once.
  for (let proto = prototype; proto !== Module.prototype; proto = Object.getPrototypeOf(proto) as object) {
    if (wrapped.has(proto)) continue;
    wrapped.add(proto);
    const forward = Object.getOwnPropertyDescriptor(proto, "forward")?.value as ((...args: unknown[]) => unknown) | undefined;
    if (!forward) continue;
    Object.defineProperty(proto, "forward", {
      configurable: true,
      writable: true,
      value(this: Module, ...args: unknown[]) {
        // What `super.forward` gives is not yet the output.
        if (forwarding.at(-1) === this) return forward.apply(this, args);
        forwarding.push(this);
        try {
          return this.within(() => {
            const result = forward.apply(this, args);
            if (result instanceof Tensor && currentScope()) named("output", result);
            return result;
          });
        } finally {
          forwarding.pop();
        }
      },
    });
  }
}

function inScope<R>(module: Module, run: () => R): R {
  const parent = running.at(-1);
  if (!parent) for (const [path, variable] of module.variables()) variable.path ??= path;
  const step = parent ? pathWithin(parent, module) : "";
  const scope = [currentScope(), step].filter(Boolean).join(".");
  running.push(module);
  try {
    return withScope(scope, run);
  } finally {
    running.pop();
  }
}

const paths = new WeakMap<Module, WeakMap<Module, string>>();

/** The property path from a module to one below it; empty when it is not below (a module made inside `forward`). */
function pathWithin(parent: Module, child: Module): string {
  const known = paths.get(parent)?.get(child);
  if (known !== undefined) return known;
  const below = new WeakMap<Module, string>();
  walk(parent, "", new Set(), (path, value) => {
    if (value instanceof Module && path) below.set(value, path);
  });
  paths.set(parent, below);
  return below.get(child) ?? "";
}

/** Visits modules, variables, and plain arrays and objects between them, depth first in order of definition. */
function walk(value: unknown, path: string, seen: Set<object>, visit: (path: string, value: Module | Variable) => void): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  if (value instanceof Variable) {
    seen.add(value);
    visit(path, value);
    return;
  }
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!plain && !(value instanceof Module)) return;
  seen.add(value);
  if (value instanceof Module) visit(path, value);
  for (const [key, inner] of Object.entries(value)) walk(inner, path ? `${path}.${key}` : key, seen, visit);
}
