/** The house as docs/design.md draws it: a folder imports from the folders below it alone, and no file from one that needs it. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/** From the ground up. */
const floors = [
  ...["errors", "worker-options", "files", "graph", "onnx", "engine", "program", "nn", "optim", "checkpoint"],
  ...["tokenizer", "chat", "image", "data", "hub", "models", "tuning", "gguf", "inspect", "onnx-export"],
  ...["generate", "train", "runs", "cli", "index"],
];

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => path.endsWith(".ts") && !/\.test\.ts$|(^|\/)testing\//.test(path))
  .sort();

/** Imports by name and re-exports; files of this repository alone. */
function importsOf(file: string): Import[] {
  const source = readFileSync(join(src, file), "utf8");
  return [...source.matchAll(/^(?:import|export)(\s+type)?\b([^;"]*?)from\s+"([^"]+)"/gm)].flatMap(
    ([, type, names = "", specifier = ""]) => {
      const braced = /^[^{]*\{([^}]*)\}/s.exec(names)?.[1];
      const onlyTypes = braced?.split(",").every((name) => name.trim() === "" || name.trim().startsWith("type ")) ?? false;
      const typeOnly = type !== undefined || (onlyTypes && !/^\s*\w/.test(names));
      const targets = specifier.startsWith("#platform/")
        ? ["node", "browser"].map((platform) => `${specifier.slice("#platform/".length)}.${platform}.ts`)
        : specifier.startsWith(".")
          ? [posix.normalize(posix.join(posix.dirname(file), specifier)).replace(/\.js$/, ".ts")]
          : [];
      return targets.filter((to) => files.includes(to)).map((to) => ({ from: file, to, typeOnly }));
    },
  );
}

const imports = files.flatMap(importsOf);
const floorOf = (file: string): number => floors.indexOf((file.split("/")[0] as string).replace(/(\.(node|browser))?\.ts$/, ""));

describe("the house", () => {
  it("has a floor for every folder", () => {
    expect(files.filter((file) => floorOf(file) < 0)).toEqual([]);
    expect(imports.length).toBeGreaterThan(1000);
  });

  it("has no file that imports from a floor above it", () => {
    const upward = imports.filter(({ from, to }) => floorOf(to) > floorOf(from));
    expect(upward.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  it("has no circle of files, but for types", () => {
    const below = new Map<string, string[]>();
    for (const { from, to, typeOnly } of imports) if (!typeOnly) below.set(from, [...(below.get(from) ?? []), to]);
    const circles: string[] = [];
    const state = new Map<string, "open" | "done">();
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
        return;
      }
      state.set(file, "open");
      for (const next of below.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, "done");
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });

  it("is the one that docs/design.md draws", () => {
    const design = readFileSync(join(src, "../docs/design.md"), "utf8");
    const drawn = design.slice(design.indexOf("```\nsrc/"), design.indexOf("bench/ "));
    const folders = new Set(
      files.filter((file) => dirname(file) !== ".").map((file) => relative(".", file).split(sep)[0] as string),
    );
    for (const folder of folders) expect([folder, drawn.includes(`${folder}/`)]).toEqual([folder, true]);
  });
});
