import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import {
  constantRate,
  cosineSchedule,
  inverseSquareRootSchedule,
  linearSchedule,
  type Schedule,
  wsdSchedule,
} from "./schedule.js";

const golden = decodeSafetensors(readFileSync(new URL("../../reference/golden/adamw.safetensors", import.meta.url))).tensors;
const others = decodeSafetensors(readFileSync(new URL("../../reference/golden/optimizers.safetensors", import.meta.url))).tensors;
const ratesOf = (name: string) => [...toNumbers(golden.get(name) as HostArray)];

/** The settings of reference/adamw.py. */
const peak = 0.05;
const [warmupSteps, totalSteps] = [4, 20];

describe("schedules", () => {
  it("warm up and follow a cosine to the minimum as nanoGPT does", () => {
    const schedule = cosineSchedule({ peak, warmupSteps, totalSteps, minimum: 0.005 });
    for (const [step, rate] of ratesOf("steps.learningRate").entries()) expect(schedule(step)).toBeCloseTo(rate, 8);
  });

  it("follow a cosine to zero after the warm-up as transformers does", () => {
    const schedule = cosineSchedule({ peak, warmupSteps, totalSteps });
    // Its warm-up begins at 0: step/warmup instead of (step + 1)/(warmup + 1).
    for (const [step, rate] of ratesOf("schedule.cosineToZero").entries())
      if (step >= warmupSteps) expect(schedule(step)).toBeCloseTo(rate, 8);
    expect(schedule(totalSteps)).toBe(0);
  });

  const whole = { peak: 0.5, warmupSteps, totalSteps };
  it.each<[string, Schedule]>([
    ["constant", constantRate({ peak: 0.5, warmupSteps })],
    ["linear", linearSchedule(whole)],
    ["inverseSquareRoot", inverseSquareRootSchedule({ peak: 0.5, warmupSteps, timescale: 6 })],
    ["wsdLinear", wsdSchedule({ ...whole, decaySteps: 8, minimum: 0.05 })],
    ["wsdCosine", wsdSchedule({ ...whole, decaySteps: 8, minimum: 0.05, decay: "cosine" })],
    ["wsdRoot", wsdSchedule({ ...whole, decaySteps: 8, minimum: 0.05, decay: "1-sqrt" })],
  ])("%s is that of transformers, whose warm-up begins a step earlier", (name, schedule) => {
    const rates = others.get(`schedule.${name}`) as HostArray;
    // The warm-up of its WSD begins at the minimum.
    const first = name.startsWith("wsd") ? warmupSteps : 0;
    for (const [step, rate] of [...toNumbers(rates)].entries())
      if (step >= first) expect(schedule(step), `step ${step}`).toBeCloseTo(rate, 6);
  });

  it("rise to the peak, fall to the minimum, and stay there", () => {
    const options = fc.record({
      peak: fc.double({ min: 1e-6, max: 1, noNaN: true }),
      warmupSteps: fc.nat({ max: 20 }),
      more: fc.integer({ min: 1, max: 50 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(options, fc.constantFrom(cosineSchedule, linearSchedule), ({ peak, warmupSteps, more, share }, make) => {
        const minimum = share * peak;
        const totalSteps = warmupSteps + more;
        const schedule = make({ peak, warmupSteps, totalSteps, minimum });
        const rates = Array.from({ length: totalSteps + 5 }, (_, step) => schedule(step));
        for (let step = 0; step < warmupSteps; step++)
          expect(rates[step]).toBeCloseTo((peak * (step + 1)) / (warmupSteps + 1), 12);
        expect(rates[warmupSteps]).toBeCloseTo(peak, 12);
        for (let step = warmupSteps + 1; step < rates.length; step++)
          expect(rates[step]).toBeLessThanOrEqual((rates[step - 1] as number) + 1e-15);
        for (const rate of rates.slice(totalSteps)) expect(rate).toBeCloseTo(minimum, 12);
      }),
    );
  });

  it("are straight, or do not change", () => {
    expect([10, 15, 20].map(linearSchedule({ peak: 1, warmupSteps: 10, totalSteps: 20, minimum: 0.5 }))).toEqual([1, 0.75, 0.5]);
    expect([0, 1, 5, 99].map(constantRate({ peak: 0.3, warmupSteps: 2 }))).toEqual([0.3 / 3, 0.6 / 3, 0.3, 0.3]);
    expect(constantRate({ peak: 0.3 })(0)).toBe(0.3);
    expect(cosineSchedule({ peak: 1, warmupSteps: 3, totalSteps: 3, minimum: 0.1 })(3)).toBe(1);
  });

  it.each([
    ["a run that is shorter than its warm-up", () => cosineSchedule({ peak: 1, warmupSteps: 5, totalSteps: 4 })],
    ["a minimum above the peak", () => linearSchedule({ peak: 1, totalSteps: 4, minimum: 2 })],
    ["a fall that is longer than the run", () => wsdSchedule({ peak: 1, warmupSteps: 2, totalSteps: 4, decaySteps: 3 })],
    ["a timescale of 0", () => inverseSquareRootSchedule({ peak: 1, timescale: 0 })],
    ["a negative peak", () => constantRate({ peak: -1 })],
    ["no number", () => constantRate({ peak: Number.NaN })],
    ["a negative warm-up", () => constantRate({ peak: 1, warmupSteps: -1 })],
  ])("refuse %s", (_, make) => {
    expect(make).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
