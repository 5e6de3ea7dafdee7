/** The page in examples/: a person chooses a text, trains, reads what the model writes, and stops. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { chromiumAbsent, findChromium, launchChromium, openPage } from "./chromium.js";
import { openSite } from "./site.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe.skipIf(!findChromium())(`the example page (skipped when ${chromiumAbsent})`, () => {
  it("trains on a chosen text, writes, and stops when it is told to", async () => {
    const site = await openSite({ entry: "examples/page/index.html" });
    const browser = await launchChromium();
    try {
      const { page, problems } = await openPage(browser, site.url);
      const status = () => page.textContent("#status");
      const untilStatus = (pattern: RegExp) => expect.poll(status, { timeout: 100_000, interval: 100 }).toMatch(pattern);
      expect(await status()).toBe("Ready.");
      await page.setInputFiles("#file", join(root, "LICENSE"));
      await page.fill("#steps", "12");
      await page.fill("#prompt", "The work ");
      await page.click("#train");
      await untilStatus(/^Done after 12 steps · loss \d\.\d+ · WebAssembly, \d+ threads?$/);
      expect(await page.locator("#curve svg").count()).toBe(1);
      expect(await page.locator("#samples li").allTextContents()).toEqual([expect.stringMatching(/^after step 12The work .+/s)]);
      const picture = process.env.TSUMIKI_SCREENSHOTS; // a folder: what the page looked like is left there
      if (picture) await page.screenshot({ path: join(picture, "example-page.png"), fullPage: true });

      await page.fill("#steps", "100000");
      await page.click("#train");
      await untilStatus(/^Step \d+ of 100000/);
      await page.click("#stop");
      await untilStatus(/^Stopped after \d+ steps/);
      expect(await page.isEnabled("#train")).toBe(true);
      expect(problems).toEqual([]);
    } finally {
      await browser.close();
      await site.close();
    }
  });
});
