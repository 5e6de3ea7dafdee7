/** What a person sees while training runs. Here what needs no terminal, so that it works in a page too. */

/** What is known after a step. */
export interface StepReport {
  /** Steps done, this one included. */
  readonly step: number;
  readonly loss: number;
  /** What the loss is a mean over: "token", "image". */
  readonly unit?: string;
  readonly unitsPerSecond?: number;
}

export interface Reporter {
  /** Something that takes a while before the training begins: `done` of `total` [bytes]. Over when something else is reported. */
  preparing?(what: string, done: number, total: number): void;
  /** Training begins: `startStep` steps of `totalSteps` lie behind it already (0 unless it resumes). */
  start(totalSteps: number, startStep?: number): void;
  step(report: StepReport): void;
  /** Something worth a line of its own: a validation loss, a saved checkpoint, a sample. May have several lines. */
  message(text: string): void;
  /** Training has ended, however: belongs into a `finally`. */
  finish(): void;
}

/** Says nothing. */
export const silentReporter: Reporter = { start() {}, step() {}, message() {}, finish() {} };

export interface PlainReporterOptions {
  /** A line at least after this share of the steps (default 0.1)... */
  readonly everyShare?: number;
  /** ...and after this many seconds (default 30). */
  readonly everySeconds?: number;
  /** Milliseconds of a clock (default `Date.now`). */
  readonly now?: () => number;
}

/** Lines for a log file or a pipe: a line of progress now and then, messages as they come. */
export function plainReporter(stream: { write(text: string): unknown }, options: PlainReporterOptions = {}): Reporter {
  const { everyShare = 0.1, everySeconds = 30, now = Date.now } = options;
  let total = 0;
  let timeLeft: (step: number) => number | undefined;
  let lastShare = 0;
  let lastTime = 0;
  const shareOf = (step: number) => Math.floor(step / (total * everyShare) + 1e-9);
  let preparedAt: number | undefined;
  return {
    preparing(what, done, all) {
      preparedAt ??= now();
      if (now() - preparedAt < everySeconds * 1000) return;
      preparedAt = now();
      stream.write(`${preparationLine(what, done, all)}\n`);
    },
    start(totalSteps, startStep = 0) {
      total = totalSteps;
      timeLeft = timeLeftEstimate(totalSteps, startStep, now);
      lastShare = shareOf(startStep);
      lastTime = now();
    },
    step(report) {
      const share = shareOf(report.step);
      const time = now();
      if (share <= lastShare && time - lastTime < everySeconds * 1000) return;
      lastShare = share;
      lastTime = time;
      stream.write(`${progressLine(report, total, timeLeft(report.step))}\n`);
    },
    message: (text) => void stream.write(`${text}\n`),
    finish() {},
  };
}

/** `step 1,040/2,000  loss 2.3141  29,876 tokens/s  0:48 left` */
export function progressLine(
  { step, loss, unit = "unit", unitsPerSecond }: StepReport,
  totalSteps: number,
  secondsLeft: number | undefined,
): string {
  const total = formatCount(totalSteps);
  const parts = [`step ${formatCount(step).padStart(total.length)}/${total}`, `loss ${loss.toFixed(4)}`];
  if (unitsPerSecond !== undefined) parts.push(`${formatCount(Math.round(unitsPerSecond))} ${unit}s/s`);
  if (secondsLeft !== undefined) parts.push(`${formatDuration(secondsLeft)} left`);
  return parts.join("  ");
}

/** `encoding: 120 of 400 MB` */
export const preparationLine = (what: string, done: number, total: number): string =>
  `${what}: ${formatCount(Math.round(done / 1e6))} of ${formatCount(Math.round(total / 1e6))} MB`;

/**
 * Seconds left after a step, from all the time since the start, so that validation and saving count; `undefined` until a step is
 * done. The first step, which compiles, is left out as soon as there is another.
 */
export function timeLeftEstimate(totalSteps: number, startStep: number, now: () => number): (step: number) => number | undefined {
  let begin = { step: startStep, time: now() };
  let warm = false;
  return (step) => {
    const time = now();
    const done = step - begin.step;
    if (done <= 0) return undefined;
    const seconds = ((time - begin.time) / 1000 / done) * Math.max(totalSteps - step, 0);
    if (!warm) begin = { step, time };
    warm = true;
    return seconds;
  };
}

const formatCount = (count: number): string => count.toLocaleString("en-US");

/** `0:48`, `12:05`, `1:02:33` */
export function formatDuration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}
