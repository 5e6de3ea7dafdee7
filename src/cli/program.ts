/** Commander's program around the commands: version and help, how errors are shown, exit codes. */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TsumikiError } from "../errors.js";
import { interruptedExitCode, wasInterrupted } from "./interrupt.js";

/** What each file of `commands/` exports. */
export interface CommandModule {
  /** Adds the command to `program`. Whatever is slow to load, the command imports when it runs. */
  register(program: Command): void;
}

function createProgram(commands: readonly CommandModule[]): Command {
  const packageJson = new URL("../../package.json", import.meta.url); // as far from src/cli as from dist/cli
  const { version, description } = JSON.parse(readFileSync(packageJson, "utf8")) as { version: string; description: string };
  const program = new Command("tsumiki")
    .description(description)
    .version(version)
    .option("--debug", "print the stack traces of errors")
    .showSuggestionAfterError()
    .exitOverride();
  for (const command of commands) command.register(program);
  return program;
}

/** What a person reads on standard error; the stack only when it was asked for. */
function describeError(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `Error: ${String(error)}`;
  if (debug) return error.stack ?? error.message;
  if (error instanceof TsumikiError) return `Error [${error.code}]: ${error.message}`;
  return `Error: ${error.message}\nThis was not foreseen; the same command with --debug prints where it happened.`;
}

/** Runs the command that `parameters` name and resolves to the exit code: 0, 1 after an error, 130 after Ctrl-C. */
export async function runProgram(parameters: readonly string[], commands: readonly CommandModule[]): Promise<number> {
  try {
    await createProgram(commands).parseAsync(parameters, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode; // commander has printed help, the version or what was wrong
    const stoppedOnRequest = wasInterrupted() && error instanceof TsumikiError && error.code === "ABORTED";
    if (!stoppedOnRequest) {
      console.error(describeError(error, parameters.includes("--debug")));
      return wasInterrupted() ? interruptedExitCode : 1;
    }
  }
  return wasInterrupted() ? interruptedExitCode : Number(process.exitCode ?? 0);
}
