/** Ctrl-C: work that can be stopped in order asks for a signal here; everything else just ends. */

/** What a shell reports for a program that SIGINT ended (128 + 2). */
export const interruptedExitCode = 130;

/** A process that started this one may hand on the SIGINT that the terminal has sent to both: within this time they are one. */
const sameKeystrokeMilliseconds = 500;

const controller = new AbortController();
let someoneListens = false;
let firstInterrupt = 0;

/**
 * A signal that the first Ctrl-C aborts, for commands that save before they stop. A second Ctrl-C ends the process at
 * once, and so does the first when no command has asked for the signal.
 */
export function interruptSignal(): AbortSignal {
  someoneListens = true;
  return controller.signal;
}

/** Whether Ctrl-C was pressed: the exit code is then 130, however orderly the command ended. */
export const wasInterrupted = (): boolean => controller.signal.aborted;

export function handleInterrupts(): void {
  process.on("SIGINT", () => {
    if (!someoneListens) process.exit(interruptedExitCode);
    if (!wasInterrupted()) {
      console.error("\nStopping (Ctrl-C again to stop at once).");
      firstInterrupt = performance.now();
      controller.abort();
    } else if (performance.now() - firstInterrupt > sameKeystrokeMilliseconds) process.exit(interruptedExitCode);
  });
}
