/** A site for tests: Vite builds it once into a temporary folder, and a server gives it to this machine alone. */

import { createReadStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import settings, { isolation } from "../../examples/page/vite.config.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface SiteOptions {
  /** A page (`.html`) or a module, whose exports `openModule` calls; from the repository's root. */
  readonly entry: string;
  /** Files that the site has besides, by their path in it: texts, for example. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface Site {
  /** Address of the site's root, with a slash at its end. */
  readonly url: string;
  close(): Promise<void>;
}

const mediaTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** A page without content, for modules that tests call. */
const blank = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Tsumiki</title></html>';

export async function openSite({ entry, files = {} }: SiteOptions): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), "tsumiki-site-"));
  const isPage = entry.endsWith(".html");
  const path = resolve(root, entry);
  await build({
    ...settings,
    root: isPage ? dirname(path) : root,
    configFile: false,
    logLevel: "error",
    build: {
      ...settings.build,
      outDir: folder,
      emptyOutDir: false,
      minify: isPage,
      rolldownOptions: {
        input: path,
        ...(isPage ? {} : { preserveEntrySignatures: "strict" as const, output: { entryFileNames: "module.js" } }),
      },
    },
  });

  const server = createServer(({ url = "/" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const file = files[pathname.slice(1)] ?? resolve(folder, `.${pathname === "/" ? "/index.html" : pathname}`);
    const headers = { ...isolation, "Content-Type": mediaTypes[extname(file)] ?? "text/plain; charset=utf-8" };
    if (!isPage && pathname === "/") response.writeHead(200, headers).end(blank);
    else if (Object.values(files).includes(file) || isFileIn(folder, file))
      createReadStream(file).pipe(response.writeHead(200, headers));
    else response.writeHead(404, isolation).end();
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const isFileIn = (folder: string, file: string): boolean =>
  file.startsWith(folder + sep) && statSync(file, { throwIfNoEntry: false })?.isFile() === true;
