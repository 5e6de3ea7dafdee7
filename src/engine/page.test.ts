/** Engines in a page: WebAssembly and WebGPU, in its main thread and in a worker. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumAbsent, findChromium, type ModuleInPage, openModule } from "../../test/browser/chromium.js";
import { tellBufferStory } from "./testing/buffer-story.js";

it("tells the same story on every engine of Node", async () => {
  const expected = (await tellBufferStory({ engine: "reference" })).values;
  for (const options of [{}, { device: "wasm" }, { worker: true }] as const)
    expect(await tellBufferStory(options), JSON.stringify(options)).toMatchObject({ sameHandles: true, values: expected });
});

describe.skipIf(!findChromium())(`in a page (skipped when ${chromiumAbsent})`, () => {
  let page: ModuleInPage<typeof import("./testing/buffer-story.js")>;
  beforeAll(async () => {
    page = await openModule("src/engine/testing/buffer-story.ts", { webgpu: true });
  });
  afterAll(() => page.close());

  it.each([
    { device: "wasm", worker: false },
    { device: "wasm", worker: true },
    { device: "webgpu", worker: false },
    { device: "webgpu", worker: true },
  ] as const)("tells the same story: %o", async (options) => {
    const { values } = await tellBufferStory({ engine: "reference" });
    expect(await page.call("tellBufferStory", { ...options, threads: 2 })).toEqual({
      device: options.device,
      sameHandles: true,
      values,
    });
  });

  it("chooses WebAssembly when WebGPU is only computed on the CPU", async () => {
    expect((await page.call("tellBufferStory", {})).device).toBe("wasm");
  });
});
