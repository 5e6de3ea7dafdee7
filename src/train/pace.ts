/** When a validation or a checkpoint is due, so that they do not take more of the time than the training. */

/** Every so many steps; "auto": a tenth of the run, but at least 10 steps and at most a fifth of the time. */
export type Interval = number | "auto";

const leastSteps = 10;
/** Time that has to pass, in multiples of what the last one took. */
const patience = 4;

export class Pace {
  readonly #interval: Interval;
  readonly #steps: number;
  readonly #now: () => number;
  #lastStep: number;
  #lastEnd: number;
  #cost = 0;

  /** @param now milliseconds of a clock */
  constructor(interval: Interval, steps: number, firstStep: number, now: () => number = () => performance.now()) {
    this.#interval = interval;
    this.#steps = steps;
    this.#now = now;
    this.#lastStep = firstStep;
    this.#lastEnd = now();
  }

  /** Steps since it was last done. */
  since(step: number): number {
    return step - this.#lastStep;
  }

  due(step: number): boolean {
    if (this.#interval !== "auto") return step % this.#interval === 0;
    const mark = Math.max(leastSteps, Math.round(this.#steps / 10));
    return this.since(step) >= mark && this.#now() - this.#lastEnd >= patience * this.#cost;
  }

  /** Does it and remembers what it took. */
  async take<T>(step: number, act: () => Promise<T>): Promise<T> {
    const begun = this.#now();
    const result = await act();
    this.#lastEnd = this.#now();
    this.#cost = this.#lastEnd - begun;
    this.#lastStep = step;
    return result;
  }
}
