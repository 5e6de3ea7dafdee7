import { describe, expect, it } from "vitest";
import { type Competitor, drive, rotated } from "./driver.js";
import { nanoGpt, small, type Workload } from "./workloads.js";

function fixture(mode: string, workload: Workload = small): Competitor {
  const task = workload.architecture === "nanogpt" ? "nanogpt" : "step";
  return {
    by: mode,
    library: mode,
    script: "../fixtures/peer.ts",
    config: { task, mode, precision: "fp32", threads: 1, workload, matmulShapes: [] },
    stepsPerRepetition: 2,
  };
}

const options = { rounds: 3, warmups: 1, onProgress: () => {} };

describe("drive", () => {
  it("runs everyone the same number of rounds and keeps warming up apart", async () => {
    const { outcomes, skipped } = await drive([fixture("one"), fixture("two")], options);
    expect(skipped).toEqual([]);
    expect(outcomes.map(({ competitor }) => competitor.by)).toEqual(["one", "two"]);
    for (const { ready, warmups, runs, peakMemoryBytes } of outcomes) {
      expect(ready.compileSeconds).toBe(0.5);
      expect(warmups.map(({ loss }) => loss)).toEqual([50]);
      expect(runs.map(({ loss }) => loss)).toEqual([25, 100 / 6, 12.5]);
      expect(peakMemoryBytes).toBeGreaterThan(10_000_000);
    }
  });

  it("skips who is absent without an error, and names who breaks; the others go on", async () => {
    const { outcomes, skipped } = await drive(
      [fixture("absent"), fixture("broken"), fixture("crashing"), fixture("fine")],
      options,
    );
    expect(outcomes.map(({ competitor, runs }) => [competitor.by, runs.length])).toEqual([["fine", 3]]);
    const failures = Object.fromEntries(skipped.map(({ competitor, reason, failed }) => [competitor.by, { reason, failed }]));
    expect(failures.absent).toEqual({ reason: "it is not installed", failed: false });
    expect(failures.broken).toMatchObject({ reason: expect.stringContaining("it cannot start"), failed: true });
    expect(failures.crashing).toMatchObject({ reason: expect.stringContaining("the process ended"), failed: true });
  });

  it("trains nanoGPT once a seed and validates after each", async () => {
    const workload = { ...nanoGpt, steps: 6, stepsPerRepetition: 2, seeds: [3, 5] };
    const { outcomes } = await drive([fixture("one", workload)], options);
    expect(outcomes[0]?.runs.length).toBe(6);
    expect(outcomes[0]?.validations.map(({ loss }) => loss)).toEqual([3, 5]);
  });
});

describe("rotated", () => {
  it("gives everyone each place in turn", () => {
    expect([0, 1, 2, 3].map((round) => rotated(["a", "b", "c"], round).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
    expect(rotated([], 2)).toEqual([]);
  });
});
