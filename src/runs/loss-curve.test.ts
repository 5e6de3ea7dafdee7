import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LossRow, lossCurveSvg, lossCurveText } from "./loss-curve.js";
import { axis, bucketize, niceAxis, type Point, smooth } from "./loss-series.js";

const noise = (i: number) => Math.sin(i * 12.9898) * 0.3;
/** A run whose loss falls from 8 towards 3, validated every tenth of it. */
const run = (steps: number): LossRow[] =>
  Array.from({ length: steps }, (_, i) => {
    const loss = 3 + 5 * Math.exp((-6 * (i + 1)) / steps);
    return { step: i + 1, loss: loss + noise(i), ...((i + 1) % (steps / 10) === 0 ? { validationLoss: loss + 0.1 } : {}) };
  });

const anyRow = fc.record(
  {
    step: fc.nat(100_000),
    loss: fc.oneof(fc.double({ min: -1e9, max: 1e9 }), fc.constant(null), fc.constant(Number.NaN)),
    validationLoss: fc.oneof(fc.double({ min: -1e9, max: 1e9 }), fc.constant(undefined)),
  },
  { requiredKeys: ["step"] },
);

describe("lossCurveText", () => {
  it("draws a falling line, its validation points, axes and a legend", () => {
    const rows = run(1000);
    const text = lossCurveText(rows, { width: 60, height: 14 });
    const lines = text.split("\n");
    expect(lines).toHaveLength(14);
    expect(lines[0]).toMatch(/loss \(nats per token\) by step .*train 3\.\d{3} .*● validation 3\.112 \(best\)/);
    expect(lines.at(-1)?.trim()).toMatch(/^0 +200 +400 +600 +800 +1,000$/);
    expect(lines.slice(1, -2).filter((line) => line.includes("┤")).length).toBeGreaterThanOrEqual(4);
    expect(text.match(/●/g)).toHaveLength(10 + 1);
    // The line goes from the top left to the bottom right.
    const rowOf = (column: number) => lines.slice(1, -2).findIndex((line) => /[\u2801-\u28ff●]/.test(line[column] ?? ""));
    expect(rowOf(3)).toBe(0);
    const rowsOfLine = [3, 8, 20, 45].map(rowOf);
    expect(rowsOfLine).toEqual([...rowsOfLine].sort((a, b) => a - b));
    expect(rowOf(45)).toBeGreaterThan(8);
  });

  it("fits the width and height it is given, whatever the rows", () => {
    fc.assert(
      fc.property(
        fc.array(anyRow, { maxLength: 40 }),
        fc.integer({ min: 40, max: 120 }),
        fc.integer({ min: 8, max: 40 }),
        (rows, width, height) => {
          const text = lossCurveText(rows, { width, height });
          if (!rows.some(({ loss, validationLoss }) => Number.isFinite(loss) || Number.isFinite(validationLoss))) {
            expect(text).toBe("No loss has been recorded yet.");
            return;
          }
          const [, ...picture] = text.split("\n");
          expect(picture).toHaveLength(height - 1);
          for (const line of picture) expect([...line].length).toBeLessThanOrEqual(width);
          expect(text).not.toMatch(/NaN|Infinity|undefined/);
        },
      ),
    );
  });

  it("shows a single step, a constant loss, and validation alone", () => {
    expect(lossCurveText([{ step: 1, loss: 2 }])).toMatch(/[\u2801-\u28ff]/);
    expect(lossCurveText([1, 2, 3].map((step) => ({ step, loss: 2 })))).toContain("2.000");
    expect(lossCurveText([{ step: 5, validationLoss: 2 }])).toContain("● validation 2.000 (best)");
  });
});

describe("lossCurveSvg", () => {
  const pathOf = (svg: string, name: string) => [
    ...(svg.match(new RegExp(`class="${name}" d="([^"]*)"`))?.[1]?.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g) ?? []),
  ];

  it("holds both lines, the validation points, the best one ringed, axes, units and a legend", () => {
    const rows = run(1000).map((row) => (row.step === 900 && row.validationLoss ? { ...row, validationLoss: 2.5 } : row));
    const svg = lossCurveSvg(rows, { title: "whale & <friends>" });
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="0 0 820 460"/);
    expect(svg).toContain("whale &amp; &lt;friends&gt;</title>");
    expect(svg.match(/<circle class="validation"[^>]*><title>/g)).toHaveLength(10);
    expect(svg.match(/<circle class="best"/g)).toHaveLength(1);
    expect(svg).toContain("best 2.500 at step 900");
    expect(svg).toContain("loss (nats per token)</text>");
    expect(svg).toContain(">1,000</text>");
    expect(svg).toContain("prefers-color-scheme: dark");
    // Self-contained: nothing is fetched, nothing runs.
    expect(svg.replace("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|<script|@import|href/);
    const smoothed = pathOf(svg, "train").map(([, x, y]) => [Number(x), Number(y)] as const);
    expect(smoothed.length).toBeGreaterThan(300);
    expect(smoothed[0]?.[1]).toBeLessThan(120); // high loss: near the top
    expect(smoothed.at(-1)?.[1]).toBeGreaterThan(340);
    expect(smoothed.every(([x, y]) => x >= 70 && x <= 792 && y >= 76 && y <= 404)).toBe(true);
  });

  it("stays small for a long run", () => {
    expect(lossCurveSvg(run(100_000)).length).toBeLessThan(60_000);
  });

  it("is well-formed, whatever the rows", () => {
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 40 }), (rows) => {
        const svg = lossCurveSvg(rows);
        expect(svg).not.toMatch(/NaN|Infinity|undefined/);
        const open: string[] = [];
        for (const [, closing, name, selfClosing] of svg.matchAll(/<(\/?)([a-zA-Z]+)[^>]*?(\/?)>/g)) {
          if (closing) expect(open.pop()).toBe(name);
          else if (!selfClosing) open.push(name as string);
        }
        expect(open).toEqual([]);
      }),
    );
  });

  it("says so where there is nothing to draw", () => {
    expect(lossCurveSvg([{ step: 1, loss: null }])).toContain("No loss has been recorded yet.");
  });
});

describe("the parts", () => {
  const points = fc
    .uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 60 })
    .chain((xs) =>
      fc
        .array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: xs.length, maxLength: xs.length })
        .map((ys) => [...xs].sort((a, b) => a - b).map((x, i): Point => ({ x, y: ys[i] as number }))),
    );

  it("smooth leaves a straight line as it is, up to its ends", () => {
    const line = Array.from({ length: 50 }, (_, i) => ({ x: i, y: 7 - 0.1 * i }));
    for (const [i, { x, y }] of smooth(line, 8).entries()) {
      expect(x).toBe(i);
      expect(y).toBeCloseTo(7 - 0.1 * i, 9);
    }
  });

  it("smooth quietens noise around what it is noise of", () => {
    const noisy = Array.from({ length: 500 }, (_, i) => ({ x: i, y: 3 + noise(i) }));
    const deviation = (values: readonly Point[]) =>
      Math.sqrt(values.reduce((sum, { y }) => sum + (y - 3) ** 2, 0) / values.length);
    expect(deviation(smooth(noisy, 20))).toBeLessThan(deviation(noisy) / 5);
  });

  it("bucketize keeps extremes and the mean, in at most as many buckets as asked for", () => {
    fc.assert(
      fc.property(points, fc.integer({ min: 1, max: 30 }), (points, count) => {
        const buckets = bucketize(points, count);
        const losses = points.map(({ y }) => y);
        expect(buckets.length).toBeLessThanOrEqual(count);
        expect(Math.min(...buckets.map(({ min }) => min))).toBe(Math.min(...losses));
        expect(Math.max(...buckets.map(({ max }) => max))).toBe(Math.max(...losses));
        for (const { y, min, max } of buckets) {
          expect(y).toBeGreaterThanOrEqual(min - 1e-9);
          expect(y).toBeLessThanOrEqual(max + 1e-9);
        }
        expect(buckets.map(({ x }) => x)).toEqual([...buckets.map(({ x }) => x)].sort((a, b) => a - b));
      }),
    );
  });

  it("axes have round, evenly spaced ticks inside their range", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e6, max: 1e6, noNaN: true }),
        fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
        (min, span) => {
          for (const { min: low, max: high, ticks } of [axis(min, min + span, 6), niceAxis(min, min + span, 6)]) {
            expect(ticks.length).toBeGreaterThanOrEqual(2);
            expect(ticks.length).toBeLessThanOrEqual(13);
            expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length);
            for (const { value } of ticks) {
              expect(value).toBeGreaterThanOrEqual(low - 1e-6 * span);
              expect(value).toBeLessThanOrEqual(high + 1e-6 * span);
            }
          }
        },
      ),
    );
    expect(niceAxis(1.62, 6.9, 6).ticks.map(({ label }) => label)).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
    expect(axis(0, 1000, 5).ticks.map(({ label }) => label)).toEqual(["0", "200", "400", "600", "800", "1,000"]);
    expect(niceAxis(2.31, 2.36, 5).ticks.map(({ label }) => label)).toEqual(["2.31", "2.32", "2.33", "2.34", "2.35", "2.36"]);
  });
});
