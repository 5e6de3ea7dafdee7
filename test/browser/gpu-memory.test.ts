/** In a page, WebGPU: state stays on the card, what is read is freed, and nothing is sent twice. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumAbsent, findChromium, type ModuleInPage, openModule } from "./chromium.js";

describe.skipIf(!findChromium())(`memory of a graphics card in a page (skipped when ${chromiumAbsent})`, () => {
  let page: ModuleInPage<typeof import("./gpu-memory.page.js")>;
  beforeAll(async () => {
    page = await openModule("test/browser/gpu-memory.page.ts", { webgpu: true });
  });
  afterAll(() => page.close());

  it("stays flat in 500 steps and 20 checkpoints, and a frozen base is sent once", async () => {
    const { parts, baseBytes, firstLoss, lastLoss, checkpointsRight } = await page.call("trainInParts", 20, 25);
    expect(checkpointsRight).toBe(true);
    expect(lastLoss).toBeLessThan(firstLoss / 2);
    const [second, last] = [parts[1], parts.at(-1)] as [(typeof parts)[0], (typeof parts)[0]];
    expect(last.liveBytes - second.liveBytes).toBeLessThan(baseBytes / 4);
    expect(last.liveBuffers - second.liveBuffers).toBeLessThan(20);
    // Two feeds a step, 8 KiB in all, and small uniforms; not the base.
    expect((last.sentBytes - second.sentBytes) / (18 * 25)).toBeLessThan(16 * 1024);
  });
});
