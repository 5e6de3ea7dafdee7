/** A progress bar on a terminal, with messages above it (Node). */

import { MultiBar, SingleBar } from "cli-progress";
import {
  plainReporter,
  preparationLine,
  progressLine,
  type Reporter,
  type StepReport,
  timeLeftEstimate,
} from "../train/reporter.js";

/** A stream that may be a terminal: `process.stderr`, `process.stdout`. */
export type TerminalStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** A bar where `stream` is a terminal that can move its cursor, lines otherwise. */
export const reporterFor = (stream: TerminalStream): Reporter =>
  stream.isTTY && process.env.TERM !== "dumb" ? terminalReporter(stream) : plainReporter(stream);

const millisecondsPerFrame = 100;
const widestBar = 40;
const narrowestBar = 8;

/** A bar with step, loss, tokens/s and time left, redrawn in place; messages scroll by above it. The cursor stays as it is. */
export function terminalReporter(stream: TerminalStream): Reporter {
  let bars: MultiBar | undefined;
  let bar: SingleBar | undefined;
  let total = 0;
  let timeLeft: (step: number) => number | undefined = () => undefined;
  let line = "starting";
  let lastFrame = 0;

  const format = (_options: unknown, { progress }: { progress: number }): string => {
    const width = Math.min(widestBar, (stream.columns ?? 80) - line.length - "100 %   ".length - 1);
    const percentage = `${String(Math.floor(progress * 100)).padStart(3)} %`;
    return width < narrowestBar ? `${percentage}  ${line}` : `${drawBar(progress, width)} ${percentage}  ${line}`;
  };
  const draw = () => {
    lastFrame = Date.now();
    bars?.update();
  };

  let preparation: SingleBar | undefined;
  const prepared = () => {
    preparation?.stop();
    preparation = undefined;
  };
  const finish = () => {
    prepared();
    bars?.stop(); // draws once more
    bars = undefined;
    bar = undefined;
  };

  return {
    preparing(what, done, all) {
      const text = preparationLine(what, done, all);
      if (!preparation) {
        preparation = new SingleBar({
          stream,
          clearOnComplete: true,
          format: (_, { progress }, { text: shown }) => `${drawBar(progress, narrowestBar * 3)}  ${shown}`,
        });
        preparation.start(all, done, { text });
      }
      preparation.update(Math.min(done, all), { text });
    },
    start(totalSteps, startStep = 0) {
      finish();
      total = totalSteps;
      timeLeft = timeLeftEstimate(totalSteps, startStep, Date.now);
      line = "starting";
      bars = new MultiBar({
        stream,
        format,
        fps: 1000 / millisecondsPerFrame,
        linewrap: true, // the library cuts the bar's line itself, and messages may wrap
        forceRedraw: true, // a message overwrites the bar
        emptyOnZero: true,
      });
      bar = bars.create(totalSteps, startStep);
      draw();
    },
    step(report: StepReport) {
      line = progressLine(report, total, timeLeft(report.step));
      bar?.update(report.step);
      // An engine may hold the thread from step to step, so the library's own timer is not enough.
      if (Date.now() - lastFrame >= millisecondsPerFrame) draw();
    },
    message(text) {
      prepared();
      if (!bars) {
        stream.write(`${text}\n`);
        return;
      }
      bars.log(`${text}\n`);
      draw();
    },
    finish,
  };
}

const drawBar = (progress: number, width: number): string => {
  const done = Math.round(progress * width);
  return "█".repeat(done) + "░".repeat(width - done);
};
