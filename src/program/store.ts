/**
 * Where the state of programs lives: for each engine, the buffers that hold the current values of variables. Every
 * program that uses a variable shares them. New values go to a second buffer and take their place only when a run has
 * succeeded, so a failed run leaves everything as it was.
 */

import type { Engine, EngineBuffer } from "../engine/engine.js";
import type { HostArray } from "../graph/host-array.js";
import type { Variable, VariableHome } from "../graph/variable.js";

class Entry implements VariableHome {
  current: EngineBuffer;
  /** Where the next value goes. */
  spare: EngineBuffer | undefined;
  /** The version of the variable that `current` holds. */
  version = -1;
  readonly #engine: Engine;

  constructor(engine: Engine, current: EngineBuffer) {
    this.#engine = engine;
    this.current = current;
  }

  read(): Promise<HostArray> {
    return this.#engine.read(this.current);
  }
}

export class StateStore {
  readonly #engine: Engine;
  readonly #entries = new WeakMap<Variable, Entry>();
  readonly #forgotten: FinalizationRegistry<Entry>;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#forgotten = new FinalizationRegistry((entry) => {
      for (const buffer of [entry.current, entry.spare]) if (buffer) void engine.release(buffer).catch(() => undefined);
    });
  }

  /** Runs tasks that touch the state one after another, in the order in which they were asked for. */
  enqueue<R>(task: () => Promise<R>): Promise<R> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** The buffer with the newest value of a variable, wherever that came from. */
  async current(variable: Variable): Promise<EngineBuffer> {
    let entry = this.#entries.get(variable);
    const { version } = variable; // a value that is written while this one is on its way is for the next time
    if (entry?.version === version) return entry.current;
    // The initial value is made here when the variable has none yet.
    const value = await variable.read();
    if (entry) await this.#engine.write(entry.current, value);
    else {
      entry = new Entry(this.#engine, await this.#engine.upload(value));
      this.#entries.set(variable, entry);
      this.#forgotten.register(variable, entry, entry);
    }
    entry.version = version;
    return entry.current;
  }

  /** A buffer for the next value; call after `current`. */
  async spare(variable: Variable): Promise<EngineBuffer> {
    const entry = this.#entry(variable);
    entry.spare ??= await this.#engine.allocate(variable.dtype, variable.shape);
    return entry.spare;
  }

  /** The value that a run has put into `buffer` becomes the current one. */
  commit(variable: Variable, buffer: EngineBuffer): void {
    const entry = this.#entry(variable);
    const { spare } = entry;
    entry.spare = entry.current;
    entry.current = buffer;
    // An engine that cannot fill the spare buffer gives another one back.
    if (spare && spare !== buffer) void this.#engine.release(spare);
    variable.moveTo(entry);
    entry.version = variable.version;
  }

  /** Moves values that only this engine holds back to host memory and frees the buffers. */
  async release(variables: Iterable<Variable>): Promise<void> {
    for (const variable of variables) {
      const entry = this.#entries.get(variable);
      if (!entry) continue;
      if (entry.version === variable.version) variable.write(await entry.read());
      this.#entries.delete(variable);
      this.#forgotten.unregister(entry);
      for (const buffer of [entry.current, entry.spare]) if (buffer) await this.#engine.release(buffer);
    }
  }

  #entry(variable: Variable): Entry {
    const entry = this.#entries.get(variable);
    if (!entry) throw new Error(`${variable.describe()} has no buffer yet.`);
    return entry;
  }
}

const stores = new WeakMap<Engine, StateStore>();

/** The one store of an engine. */
export function stateStore(engine: Engine): StateStore {
  const store = stores.get(engine) ?? new StateStore(engine);
  stores.set(engine, store);
  return store;
}
