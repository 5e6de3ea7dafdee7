import type { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ArgumentError } from "../errors.js";

/** Fresh modules for each test: an interrupt is remembered for as long as the process lives. */
async function load() {
  vi.resetModules();
  const { runProgram } = await import("./program.js");
  const interrupts = await import("./interrupt.js");
  const errors = await import("../errors.js");
  return { runProgram, ...interrupts, ...errors };
}

const command = (action: () => unknown) => ({
  register: (program: Command) => void program.command("go").action(async () => void (await action())),
});

let printed: string[];

beforeEach(() => {
  printed = [];
  vi.spyOn(console, "error").mockImplementation((text: string) => void printed.push(text));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => printed.push(String(text)) > 0);
});

afterEach(() => {
  vi.restoreAllMocks();
  process.removeAllListeners("SIGINT");
});

describe("errors", () => {
  it("shows message and code of an error thrown on purpose, without a stack", async () => {
    const { runProgram, ArgumentError } = await load();
    const throws = command(() => {
      throw new ArgumentError("steps is -1, but it must be positive.");
    });
    expect(await runProgram(["go"], [throws])).toBe(1);
    expect(printed).toEqual(["Error [ARGUMENT]: steps is -1, but it must be positive."]);
  });

  it("shows the stack with --debug", async () => {
    const { runProgram } = await load();
    const throws = command(() => {
      throw new ArgumentError("no");
    });
    expect(await runProgram(["go", "--debug"], [throws])).toBe(1);
    expect(printed.join()).toContain("program.test.ts");
  });

  it("says that any other error was not foreseen", async () => {
    const { runProgram } = await load();
    const throws = command(() => {
      throw new Error("disk on fire");
    });
    expect(await runProgram(["go"], [throws])).toBe(1);
    expect(printed.join()).toMatch(/disk on fire\n.*--debug/);
  });

  it("suggests a command for a mistyped one", async () => {
    const { runProgram } = await load();
    expect(await runProgram(["goo"], [command(() => {})])).toBe(1);
    expect(printed.join()).toMatch(/unknown command 'goo'.*\(Did you mean go\?\)/s);
  });
});

describe("Ctrl-C", () => {
  it("lets a command that listens finish, then reports 130", async () => {
    const { runProgram, handleInterrupts, interruptSignal } = await load();
    handleInterrupts();
    let saved = false;
    const saves = command(async () => {
      const signal = interruptSignal();
      setImmediate(() => process.emit("SIGINT"));
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      saved = true;
    });
    expect(await runProgram(["go"], [saves])).toBe(130);
    expect(saved).toBe(true);
  });

  it("takes a signal that a parent process hands on for the same keystroke", async () => {
    const { handleInterrupts, interruptSignal, wasInterrupted } = await load();
    const exit = vi.spyOn(process, "exit").mockImplementation(() => undefined as never);
    vi.spyOn(performance, "now").mockReturnValueOnce(1000).mockReturnValueOnce(1002).mockReturnValueOnce(2000);
    handleInterrupts();
    interruptSignal();
    process.emit("SIGINT");
    process.emit("SIGINT");
    expect(wasInterrupted()).toBe(true);
    expect(exit).not.toHaveBeenCalled();
    process.emit("SIGINT");
    expect(exit).toHaveBeenCalledWith(130);
  });

  it("ends at once when no command listens", async () => {
    const { handleInterrupts } = await load();
    const exit = vi.spyOn(process, "exit").mockImplementation(() => undefined as never);
    handleInterrupts();
    process.emit("SIGINT");
    expect(exit).toHaveBeenCalledWith(130);
  });

  it("is silent about the error that stopping raised", async () => {
    const { runProgram, handleInterrupts, interruptSignal, TsumikiError } = await load();
    handleInterrupts();
    const stops = command(() => {
      interruptSignal();
      process.emit("SIGINT");
      throw new TsumikiError("ABORTED", "stopped before step 12");
    });
    expect(await runProgram(["go"], [stops])).toBe(130);
    expect(printed.join()).not.toContain("step 12");
  });
});
