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

export interface WsdOptions extends DecayOptions {
  /** Steps of the fall to the minimum, the last ones. Default: a fifth of the steps. */
  readonly decaySteps?: number;
  /** How the rate falls. Default `linear`; `1-sqrt` is what Hägele et al. found best. */
  readonly decay?: "linear" | "cosine" | "1-sqrt";
}

/**
 * Linear warm-up, a long constant part, a short fall: "warm-up–stable–decay" (Hu et al. 2024, "MiniCPM", section 4.2; Hägele et al. 2024,
 * "Scaling laws and compute-optimal training beyond fixed training durations"). A run can be extended from any step before the fall.
 */
export function wsdSchedule({ decaySteps, decay = "linear", ...options }: WsdOptions): Schedule {
  const { peak, warmupSteps = 0, totalSteps, minimum = 0 } = options;
  const falling = decaySteps ?? Math.floor(totalSteps / 5);
  if (falling < 0 || warmupSteps + falling > totalSteps)
    throw new ArgumentError(
      `A schedule of ${totalSteps} steps has no room for a warm-up of ${warmupSteps} and a fall of ${falling}.`,
    );
  const shape = fallShapes[decay];
  const start = totalSteps - falling;
  return bounded(options, (step) => {
    if (step < start) return peak;
    const progress = Math.min(1, (step - start) / Math.max(1, falling));
    return minimum + (peak - minimum) * (step >= totalSteps ? 0 : shape(progress));
  });
}

const fallShapes = {
  linear: (progress: number) => 1 - progress,
  cosine: (progress: number) => (1 + Math.cos(Math.PI * progress)) / 2,
  "1-sqrt": (progress: number) => 1 - Math.sqrt(progress),
};

/** Linear warm-up, then peak · √(timescale / (timescale + steps since)) (Vaswani et al. 2017, section 5.3; Raffel et al. 2020, "T5", section 3.1.2). */
export function inverseSquareRootSchedule({
  peak,
  warmupSteps = 0,
  timescale = Math.max(1, warmupSteps),
}: WarmupOptions & {
  /** Steps after which the rate has fallen to 1/√2 of the peak. Default: warmupSteps. */
  readonly timescale?: number;
}): Schedule {
  if (!(timescale > 0)) throw new ArgumentError(`A timescale lies above 0, but ${timescale} was given.`);
  return warmedUp(peak, warmupSteps, (step) => peak * Math.sqrt(timescale / (timescale + step - warmupSteps)));
}

function decaying(options: DecayOptions, shape: (progress: number) => number): Schedule {
  const { peak, warmupSteps = 0, totalSteps, minimum = 0 } = options;
  return bounded(options, (step) => {
    const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
    return minimum + (peak - minimum) * shape(progress);
  });
}

/** What follows the warm-up of a schedule whose length and minimum are known. */
function bounded({ peak, warmupSteps = 0, totalSteps, minimum = 0 }: DecayOptions, after: Schedule): Schedule {
  if (totalSteps < warmupSteps)
    throw new ArgumentError(`A schedule of ${totalSteps} steps is shorter than its warm-up of ${warmupSteps}.`);
  if (minimum > peak) throw new ArgumentError(`The minimal learning rate ${minimum} lies above the peak ${peak}.`);
  return warmedUp(peak, warmupSteps, after);
}

function warmedUp(peak: number, warmupSteps: number, after: Schedule): Schedule {
  if (!(peak >= 0) || warmupSteps < 0)
    throw new ArgumentError(`A schedule needs a peak and a warm-up of at least 0, but got ${peak} and ${warmupSteps}.`);
  return (step) => (step < warmupSteps ? (peak * (step + 1)) / (warmupSteps + 1) : after(step));
}
