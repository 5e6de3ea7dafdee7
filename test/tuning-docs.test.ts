/** The programs in docs/tuning.md type-check as they are printed and run; the method that they define keeps the laws of all methods. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";
import { tuningMethods } from "../src/tuning/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = readFileSync(join(root, "docs/tuning.md"), "utf8");
const programs = new Map([...text.matchAll(/^```ts (\w+)\n(.*?)^```$/gms)].map(([, name = "", program = ""]) => [name, program]));

let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  folder = mkdtempSync(join(root, ".tsumiki", "tuning-"));
  for (const [name, program] of programs) writeFileSync(join(folder, `${name}.ts`), program);
  writeFileSync(join(folder, "use.ts"), use);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What somebody does with a method of their own. */
const use = `
import { compile, int32 } from "tsumiki/program";
import { Phi } from "tsumiki/models";
import { AdamW } from "tsumiki/optim";
import { applyTuning, loadAdapter } from "tsumiki/tuning";
import "./method.js";

const make = () => new Phi({ vocabSize: 11, hiddenSize: 8, intermediateSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 }).initialize(1);
const model = make();
const adapter = applyTuning(model, { method: "scale-and-shift", targets: ["qProj", "fc1"] }, { seed: 1 });
const optimizer = new AdamW(adapter);
const step = compile(({ ids, labels }) => {
  const loss = model.loss(ids, labels);
  return { loss, ...optimizer.update(loss, { learningRate: 0.1 }) };
}, { ids: int32(1, "seq"), labels: int32(1, "seq") });
const losses = [];
for (let i = 0; i < 5; i++) losses.push((await step({ ids: [[1, 2, 3]], labels: [[2, 3, 4]] })).loss.item());
await adapter.save("./shifted");
const other = make();
const again = await loadAdapter(other, "./shifted");
const look = compile(({ ids }) => ({ a: model.forward(ids), b: other.forward(ids) }), { ids: int32(1, "seq") });
const apart = async () => {
  const { a, b } = await look({ ids: [[1, 2, 3]] });
  return Math.max(...Array.from(a.data as Float32Array, (value, i) => Math.abs(value - ((b.data as Float32Array)[i] as number)))) < 1e-5;
};
const unmerged = await apart();
await again.merge();
console.log(JSON.stringify({ learns: (losses.at(-1) as number) < (losses[0] as number), parameters: adapter.parameters().size, unmerged, merged: await apart() }));
`;

const run = (...parameters: string[]) => execFileSync(process.execPath, parameters, { cwd: folder, encoding: "utf8" });

describe("programs", () => {
  it("type-check", () => {
    expect([...programs.keys()]).toEqual(["lora", "method"]);
    expect(run(join(root, "node_modules/typescript/bin/tsc"), "-p", folder)).toBe("");
  });

  it("the first one learns a second text", () => {
    expect(run(...fromSource, "lora.ts")).toMatch(/^loss with 8 small matrices: 0\.\d\d\n.*\b(cat|dog|rug|mat)\b/);
  });

  it("the method trains, is saved, loaded and merged", () => {
    expect(JSON.parse(run(...fromSource, "use.ts"))).toEqual({ learns: true, parameters: 4, unmerged: true, merged: true });
  });
});

it("the table lists every method", () => {
  const rows = [...text.matchAll(/^\| `([\w-]+)` \|.*\| (?:`(\w+)` )?\|$/gm)].map(([, name, type]) => [name, type]);
  expect(rows.sort()).toEqual(
    tuningMethods()
      .map(({ name, peft }) => [name, peft?.type])
      .sort(),
  );
});
