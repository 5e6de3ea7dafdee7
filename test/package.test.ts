/**
 * The package as a user gets it: built, packed, installed into an empty folder. Its command runs from dist/, and a
 * consumer that imports every sub-path type-checks against the published declarations and runs.
 */

import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import packageJson from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tsumiki-package-"));
const consumer = join(root, "test/package/consumer.ts");
const installed = join(folder, "node_modules/tsumiki");

/** Runs a program in `cwd` and returns its standard output; what it wrote on standard error is part of the error when it fails. */
function run(cwd: string, command: string, ...parameters: string[]): string {
  // npm and vitest put settings of this run into the environment, which a user's shell would not have.
  const environment = Object.entries(process.env).filter(([name]) => !/^npm_|^(NODE_OPTIONS|NODE_ENV|VITEST)/i.test(name));
  const options: ExecFileSyncOptionsWithStringEncoding = {
    cwd,
    encoding: "utf8",
    env: Object.fromEntries(environment),
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32", // npm and npx are .cmd files there
  };
  try {
    return execFileSync(command, parameters, options);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${parameters.join(" ")} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

beforeAll(() => {
  run(root, "npm", "run", "build");
  run(root, "npm", "pack", "--pack-destination", folder);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  if (!tarball) throw new Error("npm pack left no tarball");
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  run(folder, "npm", "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the packed package", () => {
  it("contains dist/ and no sources, tests or scripts", () => {
    expect(readdirSync(installed).sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "bin", "dist", "package.json"]);
    const files = readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" });
    expect(files.filter((name) => /\.test\.|(?<!\.d)\.ts$/.test(name))).toEqual([]);
  });

  it("runs its command from dist/", () => {
    expect(existsSync(join(installed, "src"))).toBe(false);
    expect(run(folder, "npx", "--no-install", "tsumiki", "--version").trim()).toBe(packageJson.version);
    expect(run(folder, "npx", "--no-install", "tsumiki", "--help")).toMatch(/^ {2}start\b/m);
  });

  it.each([
    { module: "NodeNext", moduleResolution: "NodeNext" },
    { module: "Preserve", moduleResolution: "Bundler" },
  ])("type-checks and runs in a consumer of every sub-path ($moduleResolution resolution)", (resolution) => {
    copyFileSync(consumer, join(folder, "consumer.ts"));
    // No types of Node and no skipLibCheck: the declarations stand on their own.
    const compilerOptions = { ...resolution, strict: true, target: "ES2023", lib: ["ESNext", "DOM"], types: [] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
    run(folder, join(root, "node_modules/.bin/tsc"), "-p", folder);
    expect(run(folder, process.execPath, "consumer.js").trim()).toBe("ok");
  });

  it("has a consumer that leaves no sub-path out", () => {
    const imported = readFileSync(consumer, "utf8").matchAll(/from "(tsumiki[^"]*)"/g);
    const exported = Object.keys(packageJson.exports).filter((path) => path !== "./package.json");
    expect([...imported].map((match) => match[1]).sort()).toEqual(exported.map((path) => path.replace(/^\./, "tsumiki")).sort());
  });
});
