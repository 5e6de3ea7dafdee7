/**
 * Where the state of programs lives: for each engine, the buffers that hold the current values of variables. Every
 * program that uses a variable shares them. New values go to a second buffer and take their place only when a run has
 * succeeded, or are written over the old ones by a second run (`split-updates.ts`), so a failed run leaves everything as it was.
 */

import type { Engine, EngineBuffer } from "../engine/engine.js";
import { TsumikiError } from "../errors.js";
import type { HostArray } from "../graph/host-array.js";
import type { Variable, VariableHome } from "../graph/variable.js";

class Entry implements VariableHome {
  current: EngineBuffer;
  /** Where the next value goes. */
  spare: EngineBuffer | undefined;
  /** The version of the variable that `current` holds. */
  version = -1;
  readonly #engine: Engine;
  readonly #reads = new Set<Promise<HostArray>>();
  /** A run that writes over `current`. */
  #writing: Promise<void> | undefined;

  constructor(engine: Engine, current: EngineBuffer) {
    this.#engine = engine;
    this.current = current;
  }

  async read(): Promise<HostArray> {
    while (this.#writing) await this.#writing;
    const reading = this.#engine.read(this.current);
    this.#reads.add(reading);
    try {
      return await reading;
    } finally {
      this.#reads.delete(reading);
    }
  }

  /** Waits until nobody reads any of the buffers: call it before one of them is written to or freed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#reads);
  }

  /** Nobody reads the value from now on until `end` is called. */
  beginWriting(): { end(): void } {
    let end = () => {};
    this.#writing = new Promise((resolve) => {
      end = () => {
        this.#writing = undefined;
        resolve();
      };
    });
    return { end: () => end() };
  }

  async free(): Promise<void> {
    await this.settled();
    for (const buffer of [this.current, this.spare]) if (buffer) await this.#engine.release(buffer);
  }
}

/** New values that are written over the old ones. */
export interface InPlaceUpdate {
  readonly variables: readonly Variable[];
  write(): Promise<void>;
}

export class StateStore {
  readonly #engine: Engine;
  readonly #entries = new WeakMap<Variable, Entry>();
  /** The same, to go through; a variable that nobody holds any more is forgotten. */
  readonly #held = new Map<Entry, WeakRef<Variable>>();
  readonly #forgotten: FinalizationRegistry<Entry>;
  #queue: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#forgotten = new FinalizationRegistry((entry) => {
      this.#held.delete(entry);
      entry.free().catch(() => undefined); // the engine was closed, or its device is lost: there is nothing left to free
    });
    engine.beforeClose(() => this.#close());
  }

  /** Whether the engine is being closed or was: no more tasks are taken. */
  get isClosing(): boolean {
    return this.#closing;
  }

  /**
   * Runs tasks that touch the state one after another, in the order in which they were asked for.
   *
   * @throws TsumikiError RELEASED when the engine is being closed or was
   */
  enqueue<R>(task: () => Promise<R>): Promise<R> {
    if (this.#closing)
      return Promise.reject(
        new TsumikiError("RELEASED", `The engine ${this.#engine.name} was closed: its programs cannot run any more.`),
      );
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
    const value = variable.home ? await variable.home.read() : variable.hostValue();
    if (entry) {
      await entry.settled();
      await this.#engine.write(entry.current, value);
    } else {
      entry = new Entry(this.#engine, await this.#engine.upload(value));
      this.#entries.set(variable, entry);
      this.#held.set(entry, new WeakRef(variable));
      this.#forgotten.register(variable, entry, entry);
    }
    entry.version = version;
    // One copy is enough: that in host memory goes. What lies in a file stays there.
    if (!variable.home && variable.version === version) variable.relocate(entry);
    return entry.current;
  }

  /** A buffer for the next value; call after `current`. */
  async spare(variable: Variable): Promise<EngineBuffer> {
    const entry = this.#entry(variable);
    await entry.settled();
    entry.spare ??= await this.#engine.allocate(variable.dtype, variable.shape);
    return entry.spare;
  }

  /**
   * The values that a run has put into buffers become the current ones, all or none. A variable that the host has written to
   * since the run began keeps what was written.
   *
   * @param inPlace a second run, which writes over the current values of variables
   * @throws TsumikiError STATE when another engine has updated one of the variables meanwhile
   */
  async commit(updates: ReadonlyMap<Variable, EngineBuffer>, inPlace?: InPlaceUpdate): Promise<void> {
    const conflict = [...updates.keys(), ...(inPlace?.variables ?? [])].find(
      (variable) => this.#isOverwritten(variable) && variable.home instanceof Entry,
    );
    if (conflict) {
      await this.discard(updates);
      throw new TsumikiError(
        "STATE",
        `${conflict.describe()} was updated by programs of two engines at the same time. Wait for one before the other is called.`,
      );
    }
    if (inPlace) {
      try {
        await this.#write(inPlace);
      } catch (error) {
        await this.discard(updates);
        throw error;
      }
    }
    for (const [variable, buffer] of updates) {
      const entry = this.#entry(variable);
      const { spare } = entry;
      if (this.#isOverwritten(variable)) entry.spare = buffer;
      else {
        entry.spare = entry.current;
        entry.current = buffer;
        variable.moveTo(entry);
        entry.version = variable.version;
      }
      // An engine that cannot fill the spare buffer gives another one back.
      if (spare && spare !== buffer) await this.#engine.release(spare);
    }
  }

  /** Whether the value has changed since this engine was given it. */
  #isOverwritten(variable: Variable): boolean {
    return this.#entry(variable).version !== variable.version;
  }

  async #write({ variables, write }: InPlaceUpdate): Promise<void> {
    const entries = variables.map((variable) => this.#entry(variable));
    const writings = entries.map((entry) => entry.beginWriting());
    try {
      for (const entry of entries) await entry.settled();
      await write();
      for (const [i, variable] of variables.entries()) {
        if (this.#isOverwritten(variable)) continue;
        const entry = entries[i] as Entry;
        variable.moveTo(entry);
        entry.version = variable.version;
      }
    } catch (cause) {
      throw new TsumikiError(
        "STATE",
        `${this.#engine.name} failed while it wrote new values over old ones: ${variables.length} variables may be half updated. Load a checkpoint. (${(cause as Error).message})`,
        { cause },
      );
    } finally {
      for (const { end } of writings) end();
    }
  }

  /** Forgets values that a run has put into buffers. */
  async discard(updates: ReadonlyMap<Variable, EngineBuffer>): Promise<void> {
    for (const [variable, buffer] of updates) if (buffer !== this.#entry(variable).spare) await this.#engine.release(buffer);
  }

  /** Moves values that only this engine holds back to host memory and frees the buffers. */
  async release(variables: Iterable<Variable>): Promise<void> {
    for (const variable of variables) {
      const entry = this.#entries.get(variable);
      if (!entry) continue;
      if (variable.home === entry) {
        const value = await entry.read();
        // Meanwhile it may have been written to.
        if (variable.home === entry) variable.relocate(value);
      }
      this.#entries.delete(variable);
      this.#held.delete(entry);
      this.#forgotten.unregister(entry);
      await entry.free();
    }
  }

  /** Lets the calls made so far end, takes no more, and brings home what only the engine holds. */
  async #close(): Promise<void> {
    this.#closing = true;
    await this.#queue;
    const variables = [...this.#held.values()].map((reference) => reference.deref());
    await this.release(variables.filter((variable) => variable !== undefined));
  }

  #entry(variable: Variable): Entry {
    const entry = this.#entries.get(variable);
    if (!entry) throw new Error(`${variable.describe()} has no buffer yet.`);
    return entry;
  }
}

const stores = new WeakMap<Engine, StateStore>();

/** The store of an engine whose programs have run, or have been asked to. */
export const existingStore = (engine: Engine): StateStore | undefined => stores.get(engine);

/**
 * The one store of an engine.
 *
 * @throws TsumikiError RELEASED when the engine was closed before it had one
 */
export function stateStore(engine: Engine): StateStore {
  const store = stores.get(engine) ?? new StateStore(engine);
  stores.set(engine, store);
  return store;
}
