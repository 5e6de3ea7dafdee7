/**
 * What is going on while a function is traced: whether it is for training, which values were named, which variables get
 * new values, and the path of the module whose `forward` is running. Graph values need no trace; these side notes do.
 */

import { TsumikiError } from "../errors.js";
import type { Tensor } from "./tensor.js";
import type { Variable } from "./variable.js";

/** Something besides variables that decides how a function is traced, and that can change afterwards. */
export interface Versioned {
  readonly version: number;
}

export interface TraceOptions {
  /** Dropout and batch statistics behave as in training. */
  readonly training: boolean;
  /** Patterns of named values that must exist whole, e.g. `layers.*.selfAttn.weights`. */
  readonly fetch: readonly string[];
}

/** Nodes with ids from `first` up to, but without, `end` were made while a module that has no parent ran. */
export interface RootCall {
  readonly className: string;
  readonly first: number;
  readonly end: number;
}

export class Trace {
  readonly training: boolean;
  /** What each variable becomes when the program has run. */
  readonly updates = new Map<Variable, Tensor>();
  /** Variables whose next value was read: what they become may not change any more. */
  readonly nextRead = new Set<Variable>();
  /** Values that can be fetched, by path. */
  readonly named = new Map<string, Tensor>();
  /** The calls of root modules: which nodes each made, as a range of ids. */
  readonly rootCalls: RootCall[] = [];
  readonly #patterns: readonly RegExp[];
  readonly #counts = new Map<string, number>();
  readonly #versions = new Map<Versioned, number>();

  constructor(options: TraceOptions) {
    this.training = options.training;
    this.#patterns = options.fetch.map(fetchPattern);
  }

  /** Notes that the trace is as it is because of what `decisive` is now. */
  dependOn(decisive: Versioned): void {
    this.#versions.set(decisive, decisive.version);
  }

  /** Whether the function would be traced in another way now. */
  isOutdated(): boolean {
    return [...this.#versions].some(([decisive, version]) => decisive.version !== version);
  }

  wants(path: string): boolean {
    return this.#patterns.some((pattern) => pattern.test(path));
  }

  /** The path itself the first time, `path#2` the second: names stay unique and the same in every trace of one function. */
  unique(path: string): string {
    const count = (this.#counts.get(path) ?? 0) + 1;
    this.#counts.set(path, count);
    return count === 1 ? path : `${path}#${count}`;
  }
}

/** `*` stands for one step of a path, `**` for any number. */
export function fetchPattern(pattern: string): RegExp {
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) => (part === "**" ? ".*" : part === "*" ? "[^.]*" : part.replace(/[.+?^${}()|[\]\\#]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}$`);
}

let current: Trace | undefined;
const scopes: string[] = [];
/** What `withTraining` says, the innermost call last. */
const trainings: boolean[] = [];

export const currentTrace = (): Trace | undefined => current;

/** The path of the module that is being traced; empty at the root. */
export const currentScope = (): string => scopes.at(-1) ?? "";

/** Runs `fn` as a trace of its own; traces do not nest. */
export function runTrace<R>(options: TraceOptions, fn: () => R): { readonly result: R; readonly trace: Trace } {
  if (current)
    throw new TsumikiError("TRACE", "A compiled function was traced inside another one. Call the inner function directly.");
  const trace = new Trace(options);
  current = trace;
  try {
    const result = fn();
    if (result instanceof Promise)
      throw new TsumikiError("TRACE", "A compiled function must not be async: it is traced, not run.");
    return { result, trace };
  } finally {
    current = undefined;
    scopes.length = 0;
  }
}

/** Runs `fn` with `scope` as the module path. */
export function withScope<R>(scope: string, fn: () => R): R {
  scopes.push(scope);
  try {
    return fn();
  } finally {
    scopes.pop();
  }
}

const join = (scope: string, name: string): string => (scope ? `${scope}.${name}` : name);

/** Gives a value a name under the current module, so that it can be fetched from a compiled program. Returns the value. */
export function named<T extends Tensor>(name: string, value: T): T {
  if (current) current.named.set(current.unique(join(currentScope(), name)), value);
  return value;
}

/** Notices variables that are assigned from now on, where that has no meaning. */
export function assignedSince(where: string): { check(advice: string): void } {
  const before = new Map(current?.updates);
  return {
    check(advice) {
      for (const [variable, value] of current?.updates ?? [])
        if (before.get(variable) !== value)
          throw new TsumikiError("TRACE", `${variable.describe()} was assigned inside a ${where}. ${advice}`);
    },
  };
}

/** Whether the caller asked for this value: fused and blockwise forms then give way to one in which it exists whole. */
export const isFetched = (name: string): boolean => current?.wants(join(currentScope(), name)) ?? false;

/** Whether what runs now is traced for training: what `withTraining` says, else what the program was compiled for. Outside a trace: no. */
export const isTraining = (): boolean => trainings.at(-1) ?? current?.training ?? false;

/**
 * Runs `fn` as in training or not, whatever the program around it is for: dropout and batch statistics follow it. A teacher or a
 * reference model in a training step runs with `withTraining(false, () => teacher.forward(x))`.
 */
export function withTraining<R>(training: boolean, fn: () => R): R {
  trainings.push(training);
  try {
    return fn();
  } finally {
    trainings.pop();
  }
}

/** A name for noise drawn at this point: the same in every trace of the function. */
export const noiseName = (name: string): string => {
  const path = join(currentScope(), name);
  return current ? current.unique(`noise:${path}`).slice("noise:".length) : path;
};
