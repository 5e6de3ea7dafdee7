/**
 * From a function to a program: the function is traced into a graph, the graph becomes a model, an engine runs it.
 * Variables that it reads are state; those that it assigns change when a run has succeeded.
 */

import "../graph/methods.js"; // whoever gets tensors from here finds their methods
import { defaultEngine } from "../engine/default.js";
import type { Engine } from "../engine/engine.js";
import { choosePrecision, type PrecisionChoice } from "../engine/precision.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { type Atom, bindShape, type Shape } from "../graph/dim.js";
import type { Graph } from "../graph/graph.js";
import type { HostArray, ResultArray } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { printGraph } from "../graph/print.js";
import { checkSizes } from "../graph/size-conditions.js";
import type { Tensor } from "../graph/tensor.js";
import { runTrace, type Trace } from "../graph/trace.js";
import { optimize } from "../onnx/passes/index.js";
import { buildGraph, type ProgramGraph } from "./build.js";
import { DeviceValue, endFeeds, type FeedValue, onHost, useDeviceValue } from "./device-value.js";
import { firstNotFinite, type NotFinite } from "./diagnose.js";
import { drawNoise } from "./noise.js";
import { bindSizes, type Feeds, type Signature, symbolicShapes, toArrays } from "./signature.js";
import { existingStore, stateStore } from "./store.js";
import { type Result, Variant } from "./variant.js";

export interface CompileOptions {
  /** Where programs run. Default: the default engine. */
  readonly engine?: Engine | Promise<Engine>;
  /** Dropout and batch statistics as in training. Default: yes when the function assigns new values to variables. */
  readonly training?: boolean;
  /**
   * Compile once for each set of concrete sizes instead of once for all. Default: yes when the function assigns
   * variables, because forms that skip masked blocks need to know the sizes, and with a `precision` that may be bf16: where
   * sizes are unknown, OpenVINO cuts every other number off instead of rounding it.
   */
  readonly specialize?: boolean;
  /**
   * Weights become part of the program, which then runs faster; it is compiled again when they have changed. Without effect in
   * bf16. Default: no.
   */
  readonly frozen?: boolean;
  /**
   * With `frozen`: weights that lie in a file as float16 or bfloat16 stay so in memory and are widened in each run where they are needed,
   * instead of once for all. Half the memory, and more time: see docs/engines.md. Default: no.
   */
  readonly narrow?: boolean;
  /**
   * What products of matrices are computed in; weights, their updates, norms, softmax and losses stay float32. `auto`: bf16
   * where the engine multiplies faster in it. Throws PRECISION at the first call where the engine has no bfloat16. Default fp32.
   */
  readonly precision?: PrecisionChoice;
  /** Seed of dropout and other noise. Default 0. */
  readonly seed?: number;
  /**
   * New values of variables are written over the old ones by a run of their own, once the results are accepted, instead of to second
   * buffers that take the place of the first: less memory, for a little time. What is not computed element by element gets a second buffer
   * anyway. Default: yes for 64 MiB of state and more, where the engine can.
   */
  readonly updateInPlace?: boolean;
  /** How many compiled variants (sizes, fetches) are kept; the least recently used one goes first. Default 8. */
  readonly cacheSize?: number;
}

export interface RunOptions<R = unknown, K = never> {
  /** Names of results that stay where they are computed, as values that other programs can be fed with. Others come back as copies. */
  readonly keep?: readonly K[];
  /** Names of values inside to return too; `*` is one step of a path, `**` any number. */
  readonly fetch?: readonly string[];
  /** Step and micro-step that noise is drawn for. Default: how often the program has run, and 0. */
  readonly step?: number;
  readonly microStep?: number;
  /** Looked at before the run starts: an aborted one makes the call fail with ABORTED. */
  readonly signal?: AbortSignal;
  /** Whether variables take their new values, given the results. Default: yes. */
  readonly commit?: (results: R) => boolean;
}

/** Results by name: arrays of the host, and values on the engine where they were asked for with `keep`. */
export type Results<R, Kept extends keyof R = never> = { readonly [K in keyof R]: K extends Kept ? DeviceValue : ResultArray };
export type Inside = { readonly inside: Readonly<Record<string, ResultArray>> };

export interface ProgramStatistics {
  readonly runs: number;
  /** Seconds inside the engine's `run`. */
  readonly engineSeconds: number;
  /** Seconds of whole calls: checking feeds, noise, state, reading results. Compilation not included. */
  readonly totalSeconds: number;
  /** Seconds of tracing, differentiating, writing and loading models. */
  readonly compileSeconds: number;
}

/** A call of a program, taken apart. */
export interface CapturedRun {
  /** After the general passes, before those of an engine. */
  readonly graph: Graph;
  /** Feeds, noise and the current values of variables, by the names that the graph has for them. */
  readonly inputs: ReadonlyMap<string, HostArray>;
}

export interface Program<S extends Signature, R extends Readonly<Record<string, Tensor>>> {
  <const K extends keyof R = never>(
    feeds: Feeds<S>,
    options: RunOptions<Results<R, K>, K> & { readonly fetch: readonly string[] },
  ): Promise<Results<R, K> & Inside>;
  <const K extends keyof R = never>(feeds: Feeds<S>, options?: RunOptions<Results<R, K>, K>): Promise<Results<R, K>>;
  /** How often the program has run. */
  readonly count: number;
  readonly statistics: ProgramStatistics;
  /** Names that `fetch` can ask for. */
  readonly names: readonly string[];
  /** The graph as text, with symbolic sizes where it could be traced that way. */
  toString(): string;
  /** Runs without changing anything and finds the first value, in the order of computation, that is NaN or infinite. */
  firstNotFinite(feeds: Feeds<S>, options?: Pick<RunOptions, "step" | "microStep">): Promise<NotFinite | undefined>;
  /** The graph that a call with these feeds runs, and the data of its inputs: for `compareEngines` and `profileOperators`. */
  capture(feeds: Feeds<S>, options?: Pick<RunOptions, "fetch" | "step" | "microStep">): Promise<CapturedRun>;
  /** Compiles for the sizes of these feeds without running. */
  prepare(feeds: Feeds<S>): Promise<void>;
  /** Frees everything that was compiled, when the calls made so far are over. The state stays. */
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Compiles a function of tensors. It is traced at once with symbolic sizes, so that mistakes show where they are made;
 * models are made when the first call needs them.
 */
export function compile<const S extends Signature, R extends Readonly<Record<string, Tensor>>>(
  fn: (inputs: { readonly [K in keyof S]: Tensor }) => R,
  signature: S,
  options: CompileOptions = {},
): Program<S, R> {
  const program = new CompiledFunction(fn, signature, options);
  const call = (feeds: Feeds<S>, run: AnyRunOptions<R> = {}) => program.run(feeds, run);
  return Object.defineProperties(call, {
    count: { get: () => program.count },
    statistics: { get: () => program.statistics },
    names: { get: () => program.names },
    toString: { value: () => program.toString() },
    firstNotFinite: { value: program.firstNotFinite.bind(program) },
    capture: { value: program.capture.bind(program) },
    prepare: { value: program.prepare.bind(program) },
    release: { value: program.release.bind(program) },
    [Symbol.asyncDispose]: { value: program.release.bind(program) },
  }) as unknown as Program<S, R>;
}

type AnyRunOptions<R> = RunOptions<Results<R, keyof R>, keyof R>;

interface Traced {
  readonly graph: ProgramGraph;
  readonly trace: Trace;
}

class CompiledFunction<S extends Signature, R extends Readonly<Record<string, Tensor>>> {
  count = 0;
  readonly #fn: (inputs: { readonly [K in keyof S]: Tensor }) => R;
  readonly #signature: S;
  readonly #options: CompileOptions;
  readonly #shapes: ReadonlyMap<string, Shape>;
  /** The function with symbolic sizes; absent when it must see concrete ones. */
  #symbolic: Traced | undefined;
  /** The least recently used one first. */
  readonly #variants = new Map<string, Variant>();
  #engine: Promise<Engine> | undefined;
  /** Known once the function has been traced. */
  #training: boolean | undefined;
  #released = false;
  #statistics: ProgramStatistics = { runs: 0, engineSeconds: 0, totalSeconds: 0, compileSeconds: 0 };

  constructor(fn: (inputs: { readonly [K in keyof S]: Tensor }) => R, signature: S, options: CompileOptions) {
    if ((options.cacheSize ?? 8) < 1)
      throw new ArgumentError(`A program keeps at least one compiled variant, but cacheSize is ${options.cacheSize}.`);
    this.#fn = fn;
    this.#signature = signature;
    this.#options = options;
    this.#shapes = symbolicShapes(signature);
    this.#training = options.training;
    if (options.specialize !== true) this.#symbolic = this.#trace(this.#shapes, []);
  }

  get statistics(): ProgramStatistics {
    return this.#statistics;
  }

  get names(): readonly string[] {
    return [...this.#example().trace.named.keys()];
  }

  toString(): string {
    return printGraph(this.#example().graph);
  }

  async run(given: Feeds<S>, options: AnyRunOptions<R>): Promise<Results<R, keyof R> & Inside> {
    const called = performance.now();
    // The call may have to wait: what the caller does to its objects meanwhile is no part of it.
    const { commit, fetch, signal, keep = [], ...key } = { ...options, ...(options.fetch && { fetch: [...options.fetch] }) };
    const kept = this.#outputNames(keep);
    return this.#withFeeds(given, async (engine, feeds, bindings) => {
      const begun = performance.now();
      if (signal?.aborted) throw new TsumikiError("ABORTED", "The program was stopped before it ran.", { cause: signal.reason });
      const { variant, seconds: compileSeconds } = await this.#variant(engine, bindings, fetch ?? []);
      const started = performance.now();
      const split = (values: ReadonlyMap<string, Result>) => this.#split(values, fetch !== undefined);
      const { results, engineSeconds } = await variant.run({
        feeds,
        bindings,
        noiseKey: this.#noiseKey(key),
        kept,
        accept: (values) => (commit ? commit(split(values)) : true),
      });
      this.count++;
      const before = this.#statistics;
      this.#statistics = {
        runs: before.runs + 1,
        engineSeconds: before.engineSeconds + engineSeconds,
        totalSeconds: before.totalSeconds + (begun - called + performance.now() - started) / 1000,
        compileSeconds: before.compileSeconds + compileSeconds,
      };
      return split(results);
    });
  }

  async prepare(given: Feeds<S>): Promise<void> {
    await this.#withFeeds(given, async (engine, _, bindings) => {
      const { seconds } = await this.#variant(engine, bindings, []);
      this.#statistics = { ...this.#statistics, compileSeconds: this.#statistics.compileSeconds + seconds };
    });
  }

  async firstNotFinite(given: Feeds<S>, options: Pick<RunOptions, "step" | "microStep"> = {}): Promise<NotFinite | undefined> {
    const key = { ...options };
    return this.#withFeeds(given, async (engine, feeds, bindings) => {
      const { graph } = this.#specialized(bindings, []);
      const precision = await choosePrecision(engine, this.#options.precision ?? "fp32");
      return firstNotFinite({ graph, engine, precision, feeds, bindings, noiseKey: this.#noiseKey(key) });
    });
  }

  async capture(
    given: Feeds<S>,
    { fetch = [], ...key }: Pick<RunOptions, "fetch" | "step" | "microStep"> = {},
  ): Promise<CapturedRun> {
    return this.#withFeeds(given, async (_, feeds, bindings) => {
      const { graph } = this.#specialized(bindings, fetch);
      const inputs = new Map<string, HostArray>();
      for (const [name, feed] of feeds) inputs.set(`feed:${name}`, await onHost(feed));
      for (const [name, { tensor, attributes }] of graph.noise)
        inputs.set(name, drawNoise(attributes, bindShape(tensor.shape, bindings), this.#noiseKey(key)));
      for (const [name, variable] of graph.variables) inputs.set(name, await variable.read());
      return { graph: optimize(graph), inputs };
    });
  }

  async release(): Promise<void> {
    this.#released = true;
    const engine = await this.#engine?.catch(() => undefined);
    if (!engine) return; // nothing was compiled
    const free = async () => {
      for (const variant of this.#variants.values()) await variant.release();
      this.#variants.clear();
    };
    // Calls that came before end first. An engine that is closed has freed its models.
    const store = existingStore(engine);
    if (!store) return;
    await (store.isClosing ? this.#variants.clear() : store.enqueue(free));
  }

  /**
   * Runs a task when all calls on the engine that came before are over, compilation included: programs that share state see
   * it change in the order in which they were called, and no variant goes while it runs.
   */
  async #enqueue<T>(task: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = await this.#loadEngine();
    return stateStore(engine).enqueue(() => task(engine));
  }

  #noiseKey({ step = this.count, microStep = 0 }: Pick<RunOptions, "step" | "microStep">) {
    return { seed: this.#options.seed ?? 0, step, microStep };
  }

  /** Takes the feeds as they are now, and runs a task with them when it is its turn. */
  async #withFeeds<T>(
    given: Feeds<S>,
    task: (engine: Engine, feeds: ReadonlyMap<string, FeedValue>, bindings: ReadonlyMap<Atom, number>) => Promise<T>,
  ): Promise<T> {
    if (this.#released) throw new TsumikiError("RELEASED", "This program was released and cannot run any more.");
    const values = toArrays(this.#signature, given);
    const bindings = bindSizes(this.#shapes, values);
    const feeds = new Map<string, FeedValue>();
    try {
      for (const [name, value] of values)
        feeds.set(name, value instanceof DeviceValue ? useDeviceValue(value, `The feed '${name}'`) : value);
      return await this.#enqueue((engine) => task(engine, feeds, bindings));
    } finally {
      await endFeeds(feeds);
    }
  }

  #outputNames(results: readonly (keyof R)[]): ReadonlySet<string> {
    return new Set(results.map((name) => `result:${String(name)}`));
  }

  /** Results by name, with what was fetched from inside, if anything was, under `inside`. */
  #split(values: ReadonlyMap<string, Result>, fetched: boolean): Results<R, keyof R> & Inside {
    const results: Record<string, Result> = {};
    const inside: Record<string, Result> = {};
    for (const [name, value] of values) {
      if (name.startsWith("inside:")) inside[name.slice("inside:".length)] = value;
      else results[name.slice("result:".length)] = value;
    }
    return { ...results, ...(fetched && { inside }) } as unknown as Results<R, keyof R> & Inside;
  }

  #trace(shapes: ReadonlyMap<string, Shape>, fetch: readonly string[]): Traced {
    const leaves = new Map(
      Object.entries(this.#signature).map(([name, { dtype }]) => [name, input(name, dtype, shapes.get(name) ?? [])]),
    );
    const { result, trace } = withDeepStacks(() =>
      runTrace({ training: this.#training ?? false, fetch }, () =>
        this.#fn(Object.fromEntries(leaves) as { readonly [K in keyof S]: Tensor }),
      ),
    );
    // Whether this is a training program shows only at the end, when an optimizer has assigned parameters.
    if (this.#training === undefined) {
      this.#training = trace.updates.size > 0;
      if (this.#training) return this.#trace(shapes, fetch);
    }
    return { graph: buildGraph(leaves, result, trace, fetch), trace };
  }

  /** Whether variants are made for concrete sizes. */
  get #specializes(): boolean {
    const { specialize, precision = "fp32" } = this.#options;
    return specialize ?? (precision !== "fp32" || this.#symbolic?.graph.updates.size !== 0);
  }

  #specialized(bindings: ReadonlyMap<Atom, number>, fetch: readonly string[]): Traced {
    if (!this.#specializes) {
      const symbolic = (fetch.length ? undefined : this.#current()) ?? this.#trace(this.#shapes, fetch);
      checkSizes(symbolic.graph, bindings);
      return symbolic;
    }
    const concrete = new Map([...this.#shapes].map(([name, shape]) => [name, bindShape(shape, bindings)]));
    return this.#trace(concrete, fetch);
  }

  /** The function with symbolic sizes as it would be traced now: adapters may have been put on its modules meanwhile. */
  #current(): Traced | undefined {
    if (this.#symbolic?.trace.isOutdated()) this.#symbolic = this.#trace(this.#shapes, []);
    return this.#symbolic;
  }

  #example(): Traced {
    const symbolic = this.#current();
    if (symbolic) return symbolic;
    throw new ArgumentError(
      "This program has no symbolic form (it was compiled with `specialize: true`): its graph depends on the sizes of the feeds.",
    );
  }

  #loadEngine(): Promise<Engine> {
    this.#engine ??= Promise.resolve(this.#options.engine ?? defaultEngine());
    return this.#engine;
  }

  async #variant(
    engine: Engine,
    bindings: ReadonlyMap<Atom, number>,
    fetch: readonly string[],
  ): Promise<{ readonly variant: Variant; readonly seconds: number }> {
    const sizes = this.#specializes ? [...bindings.values()].join() : "symbolic";
    const precision = await choosePrecision(engine, this.#options.precision ?? "fp32");
    const key = `${sizes}|${precision}|${[...fetch].sort().join()}`;
    const cached = this.#variants.get(key);
    // Deleted and set again: the map's order is then the order of use.
    this.#variants.delete(key);
    if (cached && !cached.isStale()) {
      this.#variants.set(key, cached);
      return { variant: cached, seconds: 0 };
    }
    await cached?.release();
    const started = performance.now();
    const { graph, trace } = this.#specialized(bindings, fetch);
    const variant = await Variant.load(engine, graph, {
      frozen: this.#options.frozen ?? false,
      precision,
      updateInPlace: this.#options.updateInPlace,
      narrow: this.#options.narrow ?? false,
      isOutdated: () => trace.isOutdated(),
    });
    this.#variants.set(key, variant);
    await this.#evict();
    return { variant, seconds: (performance.now() - started) / 1000 };
  }

  async #evict(): Promise<void> {
    while (this.#variants.size > (this.#options.cacheSize ?? 8)) {
      const [[key, oldest]] = this.#variants as unknown as [[string, Variant]];
      this.#variants.delete(key);
      await oldest.release();
    }
  }
}

/**
 * Between a mistake in a model and the line that asked for it lie the frames of operators and of the modules around them,
 * more than the 10 that V8 keeps.
 */
function withDeepStacks<T>(fn: () => T): T {
  const limited = Error as { stackTraceLimit?: number };
  const before = limited.stackTraceLimit;
  limited.stackTraceLimit = Math.max(before ?? 0, 100);
  try {
    return fn();
  } finally {
    if (before === undefined) delete limited.stackTraceLimit;
    else limited.stackTraceLimit = before;
  }
}
