import { PassThrough, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { formatDuration, plainReporter, progressLine, silentReporter, timeLeftEstimate } from "../train/reporter.js";
import { reporterFor, type TerminalStream, terminalReporter } from "./reporter-terminal.node.js";

/** A terminal without a scroll limit that understands what a progress bar sends: what a person would see. */
class Screen extends Writable {
  readonly isTTY = true;
  readonly lines: string[][] = [[]];
  #row = 0;
  #column = 0;
  unknown = "";

  constructor(readonly columns: number) {
    super({ decodeStrings: false });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    for (const [token, parameter = "", command] of chunk.matchAll(/\p{Cc}\[([\d;?]*)([A-Za-z])|[\s\S]/gu)) {
      if (command) this.#command(command, parameter);
      else if (token === "\n") this.#newLine();
      else this.#put(token);
    }
    done();
  }

  get text(): string[] {
    return this.lines.map((line) => line.join("").trimEnd());
  }

  #command(command: string, parameter: string): void {
    const line = this.lines[this.#row] as string[];
    if (command === "G") this.#column = Number(parameter || 1) - 1;
    else if (command === "A") this.#row -= Number(parameter || 1);
    else if (command === "K") line.splice(parameter === "2" ? 0 : this.#column);
    else this.unknown += command;
  }

  #put(character: string): void {
    if (this.#column === this.columns) this.#newLine();
    const line = this.lines[this.#row] as string[];
    while (line.length < this.#column) line.push(" ");
    line[this.#column++] = character;
  }

  #newLine(): void {
    this.#row++;
    this.#column = 0;
    if (this.#row === this.lines.length) this.lines.push([]);
  }
}

const clock = () => {
  let time = 0;
  return {
    now: () => time,
    pass(seconds: number) {
      time += seconds * 1000;
    },
  };
};
const lines = () => {
  const written: string[] = [];
  return { written, write: (text: string) => written.push(text) };
};

describe("terminalReporter", () => {
  it("draws a bar in place and keeps messages above it, whole", async () => {
    const screen = new Screen(80);
    const reporter = terminalReporter(screen as TerminalStream);
    const said: string[] = [];
    reporter.start(40);
    for (let step = 1; step <= 40; step++) {
      reporter.step({ step, loss: 5 / step, unit: "token", unitsPerSecond: 29_876.4 });
      if (step % 10 > 0) continue;
      // A line as long as the one it replaces, a longer one, a shorter one.
      const text = [`step ${step}: validation loss`, `${"the whale ".repeat(step / 2)}.`, "ok"];
      said.push(...text);
      reporter.message(text.join("\n"));
      await new Promise((resolve) => setTimeout(resolve, 5)); // let the library's timer run as well
    }
    reporter.finish();
    const shown = said.flatMap((line) => line.match(/.{1,80}/g)?.map((part) => part.trimEnd()) ?? []);
    expect(screen.text.slice(0, -2)).toEqual(shown);
    expect(screen.text.at(-2)).toMatch(/^█+ 100 % {2}step 40\/40 {2}loss 0\.1250 {2}29,876 tokens\/s {2}0:00 left$/);
    expect(screen.text.at(-1)).toBe("");
    expect(screen.unknown).toBe(""); // no hidden cursor, no changed wrapping: nothing to restore when the process is killed
  });

  it.each([20, 40, 60, 80, 200])("fits a terminal of %i columns", (columns) => {
    const screen = new Screen(columns);
    const reporter = terminalReporter(screen as TerminalStream);
    reporter.start(2000, 1000);
    reporter.step({ step: 1500, loss: 2.3141, unit: "token", unitsPerSecond: 29_876 });
    reporter.finish();
    expect(screen.lines.length).toBe(2);
    const [bar] = screen.text as [string];
    expect(bar).toContain(columns < 60 ? "75 %" : "75 %  step 1,500/2,000  loss 2.3141");
    if (columns >= 80) expect((bar.match(/█/g) ?? []).length / (bar.match(/[█░]/g) ?? []).length).toBeCloseTo(0.75, 1);
  });

  it("takes messages before the start and after the end, a second start, and an end without a start", () => {
    const screen = new Screen(80);
    const reporter = terminalReporter(screen as TerminalStream);
    reporter.finish();
    reporter.message("reading moby-dick");
    reporter.start(0);
    reporter.start(2);
    reporter.step({ step: 2, loss: 1 });
    reporter.finish();
    reporter.finish();
    reporter.message("saved");
    expect(screen.text).toEqual([
      "reading moby-dick",
      expect.stringMatching(/0 % {2}starting$/),
      expect.stringMatching(/100 % {2}step 2\/2 {2}loss 1\.0000 {2}0:00 left$/),
      "saved",
      "",
    ]);
  });
});

describe("plainReporter", () => {
  it("writes a line each tenth of the steps", () => {
    const out = lines();
    const { now, pass } = clock();
    const reporter = plainReporter(out, { now });
    reporter.start(1000);
    for (let step = 1; step <= 1000; step++) {
      pass(0.1);
      reporter.step({ step, loss: 3, unit: "token", unitsPerSecond: 1234.5 });
    }
    reporter.finish();
    expect(out.written).toHaveLength(10);
    expect(out.written[0]).toBe("step   100/1,000  loss 3.0000  1,235 tokens/s  1:30 left\n");
    expect(out.written.at(-1)).toBe("step 1,000/1,000  loss 3.0000  1,235 tokens/s  0:00 left\n");
  });

  it("writes a line after half a minute where a tenth takes longer, and messages as they come", () => {
    const out = lines();
    const { now, pass } = clock();
    const reporter = plainReporter(out, { now });
    reporter.start(1000, 500);
    for (let step = 501; step <= 504; step++) {
      pass(20);
      reporter.step({ step, loss: 3 });
      if (step === 503) reporter.message("saved");
    }
    expect(out.written).toEqual([
      "step   502/1,000  loss 3.0000  2:46:00 left\n",
      "saved\n",
      "step   504/1,000  loss 3.0000  2:45:20 left\n",
    ]);
  });

  it("writes each of a few steps, and every one that jumps over a tenth", () => {
    const out = lines();
    const reporter = plainReporter(out, { now: () => 0 });
    reporter.start(5);
    for (const step of [1, 2, 3, 4, 5]) reporter.step({ step, loss: 1 });
    expect(out.written).toHaveLength(5);
  });
});

describe("reporterFor", () => {
  it("gives a bar to a terminal and lines to anything else", () => {
    const screen = new Screen(80);
    const reporter = reporterFor(screen as TerminalStream);
    reporter.start(1);
    reporter.finish();
    expect(screen.text[0]).toContain("░");
    const pipe = new PassThrough();
    const plain = reporterFor(pipe);
    plain.start(1);
    plain.step({ step: 1, loss: 1 });
    plain.finish();
    expect(String(pipe.read())).toMatch(/^step 1\/1 {2}loss 1\.0000.*\n$/);
  });
});

describe("the parts", () => {
  it("silentReporter takes everything", () => {
    silentReporter.start(1);
    silentReporter.step({ step: 1, loss: 1 });
    silentReporter.message("x");
    silentReporter.finish();
  });

  it("progressLine leaves out what is not known", () => {
    expect(progressLine({ step: 7, loss: Number.NaN }, 100, undefined)).toBe("step   7/100  loss NaN");
  });

  it.each([
    [0, "0:00"],
    [0.2, "0:01"],
    [59.5, "1:00"],
    [725, "12:05"],
    [3753, "1:02:33"],
    [360_000, "100:00:00"],
  ])("formatDuration(%f) is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  it("timeLeftEstimate leaves the slow first step out once there are others", () => {
    const { now, pass } = clock();
    const timeLeft = timeLeftEstimate(11, 0, now);
    expect(timeLeft(0)).toBeUndefined();
    pass(10);
    expect(timeLeft(1)).toBe(100);
    pass(1);
    expect(timeLeft(2)).toBe(9);
    pass(3);
    expect(timeLeft(3)).toBe(16);
    pass(1);
    expect(timeLeft(20)).toBe(0);
  });
});
