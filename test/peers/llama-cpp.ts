/**
 * llama.cpp, for the tests: `node-llama-cpp` with its prebuilt library for this platform, from npm, in a folder under
 * node_modules/.cache. It is no dependency, because npm would bring libraries for graphics cards with it, half a gigabyte.
 */

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const version = "3.22.1";
const folder = fileURLToPath(new URL(`../../node_modules/.cache/llama-cpp-${version}`, import.meta.url));

const platformPackages: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "darwin-arm64": "mac-arm64-metal",
  "darwin-x64": "mac-x64",
  "win32-x64": "win-x64",
  "win32-arm64": "win-arm64",
};

export interface LlamaCpp {
  /** Where the module is to be imported from. */
  readonly url: string;
}

/** llama.cpp, or the reason why it is not here. */
export async function findLlamaCpp(): Promise<LlamaCpp | { readonly absent: string }> {
  const library = platformPackages[`${process.platform}-${process.arch}`];
  if (!library) return { absent: `node-llama-cpp has no library for ${process.platform}-${process.arch}` };
  const entry = join(folder, "node_modules/node-llama-cpp/dist/index.js");
  const complete = join(folder, "complete");
  if (!existsSync(complete)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
    const packages = [`node-llama-cpp@${version}`, `@node-llama-cpp/${library}@${version}`];
    const flags = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--prefer-offline"];
    try {
      await promisify(execFile)("npm", ["install", "--prefix", folder, ...flags, ...packages], {
        cwd: folder,
        shell: process.platform === "win32",
        timeout: 300_000,
      });
    } catch (error) {
      return { absent: `npm could not fetch node-llama-cpp: ${(error as Error).message}` };
    }
    writeFileSync(complete, version);
  }
  return { url: pathToFileURL(entry).href };
}

/** What a script beside this file prints, which runs in a process of its own: its last line, as JSON. */
export async function askLlamaCpp<T>(
  found: LlamaCpp | { readonly absent: string },
  script: string,
  ...parameters: string[]
): Promise<T> {
  if ("absent" in found) throw new Error(found.absent);
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [path, found.url, ...parameters]);
  return JSON.parse(stdout.trim().split("\n").at(-1) as string) as T;
}
