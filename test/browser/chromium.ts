/** Chromium for tests and benches: the system's own, without a window. */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { openSite, type SiteOptions } from "./site.js";

/** Where Chromium is: as TSUMIKI_CHROMIUM says, else the first in the PATH. */
export function findChromium(): string | undefined {
  const { TSUMIKI_CHROMIUM, PATH = "" } = process.env;
  const names = ["chromium", "chromium-browser", "google-chrome"];
  return [
    ...(TSUMIKI_CHROMIUM ? [TSUMIKI_CHROMIUM] : []),
    ...PATH.split(delimiter).flatMap((folder) => names.map((name) => join(folder, name))),
  ].find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export const chromiumAbsent = "Chromium is not installed (or TSUMIKI_CHROMIUM does not name it)";

export interface ChromiumOptions {
  /** Offer WebGPU, computed by SwiftShader on the CPU where there is no graphics card. Default: no WebGPU. */
  readonly webgpu?: boolean;
}

export async function launchChromium({ webgpu = false }: ChromiumOptions = {}): Promise<Browser> {
  const executablePath = findChromium();
  if (!executablePath) throw new Error(chromiumAbsent);
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", // root, as in containers, has none
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(webgpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : ["--disable-gpu"]),
    ],
  });
}

/** Chromium's own words when a page looks for WebGPU and there is none. */
const noWebgpu = "No available adapters.";

/** Opens a page and collects the errors and warnings in it. */
export async function openPage(browser: Browser, url: string): Promise<{ readonly page: Page; readonly problems: string[] }> {
  const page = await browser.newPage();
  page.setDefaultTimeout(0); // tests have limits of their own
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(error.stack ?? error.message));
  page.on("console", (message) => {
    const isProblem = message.type() === "error" || message.type() === "warning";
    if (isProblem && message.text() !== noWebgpu) problems.push(message.text());
  });
  await page.goto(url);
  return { page, problems };
}

type Functions<Module> = {
  [K in keyof Module as Module[K] extends (...parameters: never[]) => unknown ? K : never]: Module[K];
};

export interface ModuleInPage<Module> {
  readonly browser: Browser;
  readonly page: Page;
  /** Errors and warnings of the page so far. */
  readonly problems: readonly string[];
  /** Calls an exported function in the page. Parameters and result are what JSON can say. */
  call<K extends keyof Functions<Module>>(
    name: K,
    ...parameters: Functions<Module>[K] extends (...parameters: infer P) => unknown ? P : never
  ): Promise<Functions<Module>[K] extends (...parameters: never[]) => infer R ? Awaited<R> : never>;
  close(): Promise<void>;
}

/** Builds a module for the browser and opens it in a page of a Chromium of its own. */
export async function openModule<Module>(
  entry: string,
  { webgpu = false, ...options }: ChromiumOptions & Omit<SiteOptions, "entry"> = {},
): Promise<ModuleInPage<Module>> {
  const site = await openSite({ entry, ...options });
  const browser = await launchChromium({ webgpu });
  const { page, problems } = await openPage(browser, site.url);
  return {
    browser,
    page,
    problems,
    // A string, because what vitest and tsx make of a function would not run there.
    call: (name, ...parameters) =>
      page.evaluate(
        `import("/module.js").then((module) => module[${JSON.stringify(name)}](...${JSON.stringify(parameters)}))`,
      ) as never,
    async close() {
      await browser.close();
      await site.close();
    },
  };
}
