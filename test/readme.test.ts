/** What the README shows: its programs type-check and run as they are printed, its commands and its recipe do what it says. */

import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";
import { parseRecipe, type RecipeInput } from "../src/runs/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = (language: string): string[] =>
  [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, content]) =>
    name === language && content ? [content] : [],
  );

/** All that is changed in what the README prints: how long it trains. Each must be there exactly once. */
const shorter: readonly [printed: string, here: string][] = [
  ["steps: 1000", "steps: 3"],
  ["count: 500", "count: 3"],
  ["--data poems.txt --out runs/poems", "--data poems.txt --out runs/poems --steps 2"],
  ["--steps 200", "--steps 2"],
  ["--from runs/poems --data songs.txt", "--from runs/poems --data songs.txt --steps 2"],
  ["songs.txt --out runs/new", "songs.txt --out runs/new --steps 2"],
];

function shortened(text: string): string {
  return shorter.reduce((result, [printed, here]) => result.replace(printed, here), text);
}

/** A folder inside the repository, from where the package's own name leads to `src/`. */
let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "readme-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, ...parameters: string[]): string {
  const options: ExecFileSyncOptionsWithStringEncoding = { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  try {
    return execFileSync(command, parameters, options);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${parameters.join(" ")} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

const tsumiki = (...parameters: string[]) => run(process.execPath, join(root, "bin/tsumiki.mjs"), ...parameters);

describe("what is changed", () => {
  it.each(shorter)("%s stands in the README once", (printed) => expect(readme.split(printed)).toHaveLength(2));
});

describe("programs", () => {
  const programs = blocks("ts");
  const names = ["train", "attention", "step", "look"];

  it("are four, and type-check as they are printed", () => {
    expect(programs).toHaveLength(names.length);
    for (const [i, program] of programs.entries()) writeFileSync(join(folder, `${names[i]}.ts`), program);
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
    run(process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", folder);
  });

  // In the order of the README: the last one looks into what the one before has saved.
  it.each([
    ["train", /\S/],
    ["attention", /^$/],
    ["step", /^$/],
    ["look", /^\[ 1, 4, (\d+), \1 \]\ninput ids \[batch, seq\] int32\n[\s\S]*softmax[\s\S]*return \S*logits = %\d+\n$/],
  ])("%s runs", (name, output) => {
    const program = programs[names.indexOf(name)] ?? "";
    writeFileSync(join(folder, `${name}.ts`), shortened(program));
    expect(run(process.execPath, ...fromSource, `${name}.ts`)).toMatch(output);
  });

  it("show the layer of the Llama models as it is", () => {
    const source = readFileSync(join(root, "src/models/decoders/llama.ts"), "utf8");
    const printed = programs[1]?.match(/^\/\*\* Two blocks[\s\S]*^}$/m)?.[0] ?? "nothing";
    expect(source).toContain(printed);
  });
});

describe("commands", () => {
  const commands = blocks("sh").flatMap((block) =>
    block.split("\n").flatMap((line) => (line.startsWith("npx tsumiki ") ? [line.replace(/ {2,}#.*$/, "")] : [])),
  );

  it("are those that are tried here", () => {
    expect(commands.map((command) => command.split(" ")[2])).toEqual([
      "doctor",
      "train",
      "train",
      "sample",
      "train",
      "train",
      "train",
    ]);
  });

  it("run one after the other, with the recipe that is printed", () => {
    const [recipe = ""] = blocks("json");
    expect(parseRecipe(JSON.parse(recipe) as RecipeInput)).toMatchObject({ training: { steps: 2000, dropout: 0.1 } });
    writeFileSync(join(folder, "recipe.json"), recipe);
    for (const text of ["poems.txt", "songs.txt"]) copyFileSync(join(root, "LICENSE"), join(folder, text));
    const sizes = { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, head_dim: 16 };
    writeFileSync(join(folder, "qwen3.json"), JSON.stringify({ model_type: "qwen3", vocab_size: 151_936, ...sizes }));
    const outputs = commands.slice(1).map((command) => {
      const words = [...shortened(command).matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
      return tsumiki(...words.slice(2));
    });
    expect(outputs[0]).toMatch(/step 2\/2[\s\S]*Saved in runs\/poems/);
    expect(outputs[1]).toMatch(/Saved in runs\/poems/);
    expect(outputs[2]).toMatch(/^The sea[\s\S]+\n$/);
    expect(outputs[3]).toMatch(/--- "The sea"\nThe sea[\s\S]*Saved in runs\/recipe/);
    expect(outputs[4]).toMatch(/^tokenizer +.*runs\/poems[\s\S]*Saved in runs\/songs/m);
    expect(outputs[5]).toMatch(/^model +qwen3[\s\S]*Saved in runs\/new/m);
    expect(readdirSync(join(folder, "runs/recipe"))).toEqual(
      expect.arrayContaining(["recipe.json", "tokenizer.json", "checkpoints", "metrics.jsonl", "loss.svg", "samples"]),
    );
  });
});
