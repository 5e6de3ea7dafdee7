/** Open, closing, closed: what all engines do alike at their end. */

import { TsumikiError } from "../errors.js";

export class Lifecycle {
  readonly #engine: string;
  readonly #tasks: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;
  #closed = false;

  /** @param engine its name, for errors */
  constructor(engine: string) {
    this.#engine = engine;
  }

  beforeClose(task: () => Promise<void>): void {
    this.checkOpen();
    this.#tasks.push(task);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** @throws TsumikiError RELEASED once the engine is closed */
  checkOpen(): void {
    if (this.#closed) throw new TsumikiError("RELEASED", `The engine ${this.#engine} was used after it was closed.`);
  }

  /** Runs the tasks, refuses everything from then on, and frees. Everything is freed even when a task fails; its error comes after. */
  close(free: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#close(free);
    return this.#closing;
  }

  async #close(free: () => Promise<void>): Promise<void> {
    const errors: unknown[] = [];
    for (const task of this.#tasks) {
      try {
        await task();
      } catch (error) {
        errors.push(error);
      }
    }
    this.#closed = true;
    await free();
    if (errors.length > 0) throw errors[0];
  }
}
