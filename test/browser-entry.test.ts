/**
 * Everything that package.json exports can be bundled for a browser: no module that a page would load asks for a
 * Node built-in or for onnxruntime-node. Vite replaces Node's built-ins by empty modules without failing, so a plugin
 * looks at every import while the module graph is built.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "vite";
import { describe, expect, it } from "vitest";
import packageJson from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("..", import.meta.url));
const nodeOnlyPackages = ["onnxruntime-node", "tokenizers", "commander", "cli-progress"];

const isNodeOnly = (specifier: string): boolean =>
  specifier.startsWith("node:") ||
  builtinModules.includes(specifier) ||
  nodeOnlyPackages.some((name) => specifier === name || specifier.startsWith(`${name}/`));

/** Collects "importer → what it imports" for each import of something that only Node has. */
function findNodeOnlyImports(found: string[]): Plugin {
  return {
    name: "find-node-only-imports",
    enforce: "pre",
    resolveId(specifier, importer) {
      if (!isNodeOnly(specifier)) return null;
      found.push(`${importer?.replace(root, "")} → ${specifier}`);
      return { id: specifier, external: true };
    },
  };
}

/** Bundles the file `entry` as a page would get it and returns the imports of things that only Node has. */
async function nodeOnlyImports(entry: string): Promise<string[]> {
  const found: string[] = [];
  await build({
    root,
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["tsumiki-source", "browser", "module"] },
    plugins: [findNodeOnlyImports(found)],
    worker: { format: "es", plugins: () => [findNodeOnlyImports(found)] },
    build: { write: false, minify: false, target: "es2023", lib: { entry, formats: ["es"] } },
  });
  return [...new Set(found)];
}

describe("what a browser loads", () => {
  const sources = Object.entries(packageJson.exports).flatMap(([name, target]) =>
    typeof target === "string" ? [] : [{ name, source: target["tsumiki-source"] }],
  );

  it.each(sources)("$name reaches nothing that only Node has", async ({ source }) => {
    expect(await nodeOnlyImports(join(root, source))).toEqual([]);
  });

  it("would notice a Node built-in and a Node-only package, in the page and in its worker", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tsumiki-browser-entry-"));
    const file = (name: string): string => join(folder, name);
    try {
      writeFileSync(file("worker.js"), `import "node:os";`);
      writeFileSync(
        file("entry.js"),
        `import { readFileSync } from "node:fs";
         export const parts = () => [readFileSync, import("onnxruntime-node")];
         export const worker = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" });`,
      );
      const found = await nodeOnlyImports(file("entry.js"));
      expect(found).toEqual(
        expect.arrayContaining([
          `${file("entry.js")} → node:fs`,
          `${file("entry.js")} → onnxruntime-node`,
          `${file("worker.js")} → node:os`,
        ]),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
