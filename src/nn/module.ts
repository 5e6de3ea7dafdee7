/**
 * Modules: plain classes whose parameters are found by walking their properties. A property path is a parameter's name
 * (`layers.3.selfAttn.qProj.weight`), and the path of what `forward` is tracing names values inside a program.
 */

import { ArgumentError } from "../errors.js";
import { nodeIdMark, Tensor } from "../graph/tensor.js";
import { currentScope, currentTrace, named, withScope } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";

/** Modules that are being traced (their `forward`, or a method that asks for it), the root first. */
const running: Module[] = [];
/** Those of them whose `forward` is running. */
const forwarding: Module[] = [];

/** Names that `withRoot` gives, the innermost call last. */
const rootNames: string[] = [];

const wrapped = new WeakSet<object>();

/**
 * Base of everything with parameters. `forward` runs under the module's path, and its result can be fetched from a
 * compiled program as `path.output`.
 */
export abstract class Module {
  constructor() {
    wrapForward(new.target.prototype);
  }

  /**
   * Every variable below this module by path, shared ones under their first path only. Lists, Maps and plain objects are walked;
   * what stands in `#private` fields or in objects of other classes is not found, and a program that uses such a parameter is refused.
   */
  variables(): ReadonlyMap<string, Variable> {
    const found = new Map<string, Variable>();
    walk(this, "", new Set(), (path, value) => {
      if (!(value instanceof Variable)) return;
      if (found.has(path))
        throw new ArgumentError(
          `Two variables of ${this.constructor.name} have the path ${path}: give one of them another name.`,
        );
      value.belongsToModule = true;
      found.set(path, value);
    });
    return found;
  }

  /** Every module below this one by path, shared ones under their first path only. */
  modules(): ReadonlyMap<string, Module> {
    const found = new Map<string, Module>();
    walk(this, "", new Set(), (path, value) => {
      if (value instanceof Module && value !== this) found.set(path, value);
    });
    return found;
  }

  /** The parameters among the variables, frozen ones included. */
  parameters(): ReadonlyMap<string, Parameter> {
    return new Map([...this.variables()].filter((entry): entry is [string, Parameter] => entry[1] instanceof Parameter));
  }

  /**
   * Gives every variable its path and, where it has no value yet, the seed of its initial value. Two modules of one class get the same
   * values from the same seed; inside `withRoot` they get values of their own.
   */
  initialize(seed: number): this {
    for (const [path, variable] of this.variables()) {
      variable.path = joined(rootNames.at(-1), path);
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
  if (!parent) return asRoot(module, run);
  return underScope(module, joined(currentScope(), pathWithin(parent, module)), run);
}

/** Runs a module that no other one runs. */
function asRoot<R>(module: Module, run: () => R): R {
  const root = currentScope();
  for (const [path, variable] of module.variables()) variable.path ??= joined(root, path);
  const first = nodeIdMark();
  try {
    return underScope(module, root, run);
  } finally {
    currentTrace()?.rootCalls.push({ className: module.constructor.name, first, end: nodeIdMark() });
  }
}

function underScope<R>(module: Module, scope: string, run: () => R): R {
  running.push(module);
  try {
    return withScope(scope, run);
  } finally {
    running.pop();
  }
}

/**
 * Runs `fn` with `name` in front of the paths of the modules that run in it: `withRoot("teacher", () => teacher.forward(x))`. Values,
 * noise and initial values of several models in one program are told apart by it, and can be fetched as `teacher.layers.0.output`.
 * A root inside a root, or inside a running module, begins anew: its name is the whole prefix.
 */
export function withRoot<R>(name: string, fn: () => R): R {
  if (!/^[\p{L}_][\p{L}\p{N}_-]*$/u.test(name))
    throw new ArgumentError(
      `A root is named with letters, digits, _ and -, beginning with a letter, but ${JSON.stringify(name)} was given.`,
    );
  const [outerRunning, outerForwarding] = [running.splice(0), forwarding.splice(0)];
  rootNames.push(name);
  try {
    return withScope(name, fn);
  } finally {
    rootNames.pop();
    running.push(...outerRunning);
    forwarding.push(...outerForwarding);
  }
}

const joined = (prefix: string | undefined, path: string): string => [prefix, path].filter(Boolean).join(".");

const paths = new WeakMap<Module, WeakMap<Module, string>>();

/** The property path from a module to one below it; empty when it is not below (a module of another tree). */
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

/** Visits modules, variables, and the arrays, Maps and plain objects between them, depth first in order of definition. */
function walk(value: unknown, path: string, seen: Set<object>, visit: (path: string, value: Module | Variable) => void): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  if (value instanceof Variable) {
    seen.add(value);
    visit(path, value);
    return;
  }
  const prototype = Object.getPrototypeOf(value) as object | null;
  const plain = Array.isArray(value) || prototype === Object.prototype || prototype === null;
  if (!plain && !(value instanceof Module || value instanceof Map)) return;
  seen.add(value);
  if (value instanceof Module) visit(path, value);
  for (const [key, inner] of value instanceof Map ? value : Object.entries(value))
    if (typeof key === "string" || typeof key === "number") walk(inner, joined(path, String(key)), seen, visit);
    else walk(inner, path, seen, () => refuseKey(path, key));
}

function refuseKey(path: string, key: unknown): never {
  throw new ArgumentError(
    `${path} is a Map with modules or variables, whose keys become part of their paths: they must be strings or numbers, but one is a ${typeof key}.`,
  );
}
