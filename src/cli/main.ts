/**
 * The command line. Each file of `commands/` is one command and exports `register(program)`, which adds it to
 * commander's program; whatever is slow to load, it imports when the command runs.
 */

import { readdirSync, readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TsumikiError } from "../errors.js";
import { handleInterrupts, interruptedExitCode, wasInterrupted } from "./interrupt.js";

interface CommandModule {
  register(program: Command): void;
}

/** The commands' modules in alphabetical order: `.ts` files in a clone, `.js` files in the package. */
async function loadCommands(): Promise<CommandModule[]> {
  const folder = new URL("./commands/", import.meta.url);
  const files = readdirSync(folder).filter((name) => /^[a-z-]+\.[jt]s$/.test(name));
  return Promise.all(files.sort().map((name) => import(new URL(name, folder).href) as Promise<CommandModule>));
}

async function createProgram(): Promise<Command> {
  const packageJson = new URL("../../package.json", import.meta.url); // as far from src/cli as from dist/cli
  const { version, description } = JSON.parse(readFileSync(packageJson, "utf8")) as { version: string; description: string };
  const program = new Command("tsumiki")
    .description(description)
    .version(version)
    .option("--debug", "print stack traces of errors")
    .showSuggestionAfterError()
    .exitOverride();
  for (const command of await loadCommands()) command.register(program);
  return program;
}

/** What a person reads on standard error; the stack only when it was asked for. */
function describeError(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `Error: ${String(error)}`;
  if (debug) return error.stack ?? error.message;
  if (error instanceof TsumikiError) return `Error [${error.code}]: ${error.message}`;
  return `Error: ${error.message}\nThis was not foreseen; the same command with --debug prints where it happened.`;
}

/** Runs the command that `parameters` name and resolves to the exit code. */
async function main(parameters: readonly string[]): Promise<number> {
  handleInterrupts();
  try {
    const program = await createProgram();
    await program.parseAsync(parameters, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode; // commander has printed help, version or what was wrong
    if (!wasInterrupted()) {
      console.error(describeError(error, parameters.includes("--debug")));
      return 1;
    }
  }
  return wasInterrupted() ? interruptedExitCode : Number(process.exitCode ?? 0);
}

// Set, not called: what is still being written to a pipe is written first.
process.exitCode = await main(process.argv.slice(2));
