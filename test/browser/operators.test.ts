/** Every operator, forward and backward, in a page, against the reference: on WebAssembly and on WebGPU with their lowerings. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../src/graph/index.js";
import { operators } from "../../src/graph/op.js";
import { chromiumAbsent, findChromium, type ModuleInPage, openModule } from "./chromium.js";

const names = operators().map(({ name }) => name);

describe.skipIf(!findChromium()).each(["wasm", "webgpu"] as const)(`%s in a page (skipped when ${chromiumAbsent})`, (device) => {
  let page: ModuleInPage<typeof import("./operators.page.js")>;
  beforeAll(async () => {
    page = await openModule("test/browser/operators.page.ts", { webgpu: device === "webgpu" });
  });
  afterAll(() => page.close());

  it.each(names)("%s", async (name) => expect(await page.call("operatorProblems", name, device)).toEqual([]));
});
