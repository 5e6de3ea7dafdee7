/** Training in a page follows training in Node, step by step, and leaves the page responsive. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LlamaWorkload, small } from "../../bench/workloads.js";
import { webgpuEngine } from "../../src/engine/testing/webgpu.js";
import { chromiumAbsent, findChromium, type ModuleInPage, openModule } from "./chromium.js";
import { trainSteps } from "./training-step.page.js";

/** Where software computes the shaders, every operator costs a millisecond: one layer, few tokens, and larger steps. */
const tiny: LlamaWorkload = {
  ...small,
  name: "tiny",
  layers: 1,
  hidden: 32,
  heads: 2,
  intermediate: 88,
  context: 16,
  batch: 4,
  optimizer: { ...small.optimizer, learningRate: 5e-3 },
};

const steps = 50;
const TOLERANCE = 1e-3; // relative

function expectToFollow(losses: readonly number[], expected: readonly number[]): void {
  expect(losses).toHaveLength(expected.length);
  for (const [i, loss] of losses.entries()) {
    const expectedLoss = expected[i] as number;
    expect(Math.abs(loss - expectedLoss) / expectedLoss, `step ${i + 2}: ${loss}, in Node ${expectedLoss}`).toBeLessThan(
      TOLERANCE,
    );
  }
}

type Page = ModuleInPage<typeof import("./training-step.page.js")>;

describe.skipIf(!findChromium())(`training in a page (skipped when ${chromiumAbsent})`, () => {
  let page: Page;
  beforeAll(async () => {
    page = await openModule("test/browser/training-step.page.ts", { webgpu: true });
  });
  afterAll(() => page.close());

  it("follows Node on WebAssembly with 2 threads, and timers tick meanwhile", async () => {
    const { losses, device, threads, ticks } = await page.call("trainSteps", small, steps, {
      device: "wasm",
      threads: 2,
      worker: true,
    });
    expect([device, threads]).toEqual(["wasm", 2]);
    expectToFollow(losses, (await trainSteps(small, steps, { device: "cpu", threads: 2 })).losses);
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 1);
    // A step that holds the thread lets a timer tick once, when it is over.
    expect(ticks).toBeGreaterThan(2 * steps);
  });

  it("runs in a worker when nobody chooses an engine", async () => {
    const { device, ticks } = await page.call("trainSteps", small, 10);
    expect(device).toBe("wasm"); // software's WebGPU is not worth choosing
    expect(ticks).toBeGreaterThan(20);
  });

  it("follows Node's CPU on WebGPU", async () => {
    const { losses, device } = await page.call("trainSteps", tiny, steps, { device: "webgpu", worker: true });
    expect(device).toBe("webgpu");
    expectToFollow(losses, (await trainSteps(tiny, steps, { device: "cpu", threads: 2 })).losses);
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.5);
  });
});

const nodeWebgpu = await webgpuEngine();
const absence = nodeWebgpu instanceof Error ? nodeWebgpu.message : undefined;
if (!(nodeWebgpu instanceof Error)) await nodeWebgpu.close();

describe.skipIf(absence !== undefined)(`training on WebGPU in Node${absence ? ` (skipped: ${absence})` : ""}`, () => {
  it("follows the CPU", async () => {
    const { losses } = await trainSteps(tiny, steps, { device: "webgpu" });
    expectToFollow(losses, (await trainSteps(tiny, steps, { device: "cpu", threads: 2 })).losses);
  });
});
