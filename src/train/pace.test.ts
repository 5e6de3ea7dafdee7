import { describe, expect, it } from "vitest";
import { Pace } from "./pace.js";

/** Steps at which something is done that costs so much, where each step takes one second. */
async function stepsOf(interval: number | "auto", steps: number, cost: number): Promise<number[]> {
  let now = 0;
  const pace = new Pace(interval, steps, 0, () => now);
  const done: number[] = [];
  for (let step = 1; step <= steps; step++) {
    now += 1000;
    if (!pace.due(step)) continue;
    await pace.take(step, async () => {
      now += cost;
    });
    done.push(step);
  }
  return done;
}

describe("the pace of validations and checkpoints", () => {
  it("is as regular as it was asked to be", async () => expect(await stepsOf(3, 10, 1e6)).toEqual([3, 6, 9]));

  it("is a tenth of a run where they cost little, and never less than ten steps", async () => {
    expect(await stepsOf("auto", 300, 10)).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300]);
    expect(await stepsOf("auto", 25, 10)).toEqual([10, 20]);
    expect(await stepsOf("auto", 6, 10)).toEqual([]);
  });

  it("takes at most a fifth of the time where they cost much", async () => {
    const done = await stepsOf("auto", 1000, 100_000);
    expect((done.length - 1) * 100).toBeLessThanOrEqual(0.25 * 1000);
    expect(done.length).toBeGreaterThan(1);
  });
});
