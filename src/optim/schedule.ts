/** Learning rates over a run. A schedule is a function of the step alone, so a resumed run continues it exactly. */

import { ArgumentError } from "../errors.js";

/** The learning rate of a step, counted from 0. */
export type Schedule = (step: number) => number;

export interface WarmupOptions {
  readonly peak: number;
  /** Steps in which the rate rises from peak / (warmupSteps + 1) to the peak. Default 0. */
  readonly warmupSteps?: number;
}

export interface DecayOptions extends WarmupOptions {
  /** The step at which the minimum is reached; the rate stays there. */
  readonly totalSteps: number;
  /** Default 0. */
  readonly minimum?: number;
}

export const constantRate = ({ peak, warmupSteps = 0 }: WarmupOptions): Schedule => warmedUp(peak, warmupSteps, () => peak);

/** Linear warm-up, then half a cosine down to the minimum (Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts). */
export const cosineSchedule = (options: DecayOptions): Schedule =>
  decaying(options, (progress) => (1 + Math.cos(Math.PI * progress)) / 2);

/** Linear warm-up, then a straight line down to the minimum. */
export const linearSchedule = (options: DecayOptions): Schedule => decaying(options, (progress) => 1 - progress);

function decaying(
  { peak, warmupSteps = 0, totalSteps, minimum = 0 }: DecayOptions,
  shape: (progress: number) => number,
): Schedule {
  if (totalSteps < warmupSteps)
    throw new ArgumentError(`A schedule of ${totalSteps} steps is shorter than its warm-up of ${warmupSteps}.`);
  if (minimum > peak) throw new ArgumentError(`The minimal learning rate ${minimum} lies above the peak ${peak}.`);
  return warmedUp(peak, warmupSteps, (step) => {
    const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
    return minimum + (peak - minimum) * shape(progress);
  });
}

function warmedUp(peak: number, warmupSteps: number, after: Schedule): Schedule {
  if (!(peak >= 0) || warmupSteps < 0)
    throw new ArgumentError(`A schedule needs a peak and a warm-up of at least 0, but got ${peak} and ${warmupSteps}.`);
  return (step) => (step < warmupSteps ? (peak * (step + 1)) / (warmupSteps + 1) : after(step));
}
