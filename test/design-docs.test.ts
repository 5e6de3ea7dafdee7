/** The kind of model and the objective of docs/design.md, as they are printed: they type-check, load, save, train and run. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toNumbers } from "../src/graph/host-array.js";
import { modelValues } from "../src/inspect/index.js";
import { type AnyModel, loadModel, modelFromConfig, saveModel } from "../src/models/index.js";
import { runTraining } from "../src/runs/index.js";
import { knownObjectives } from "../src/train/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const design = readFileSync(join(root, "docs/design.md"), "utf8");
const printed = (name: string) => new RegExp(`^\`\`\`ts ${name}\\n(.*?)^\`\`\`$`, "ms").exec(design)?.[1] ?? "";
const config = { model_type: "linear_regression", features: 2 };

describe("the kind and the objective in docs/design.md", () => {
  let folder: string;
  beforeAll(async () => {
    // Inside the repository, from where the package's own name leads to `src/`.
    mkdirSync(join(root, ".tsumiki"), { recursive: true });
    folder = mkdtempSync(join(root, ".tsumiki", "design-"));
    for (const name of ["kind", "objective"]) writeFileSync(join(folder, `${name}.ts`), printed(name));
    for (const name of ["kind", "objective"]) await import(/* @vite-ignore */ join(folder, `${name}.ts`));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("type-check as they are printed", () => {
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    expect(execFileSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" })).toBe("");
  });

  it("are a model that saves, loads and computes by name", async () => {
    const directory = join(folder, "saved");
    await saveModel((modelFromConfig(config) as AnyModel).initialize(3), directory);
    const model = await loadModel(directory);
    expect(model.kind).toBe("regressor");
    const x = { dtype: "float32" as const, shape: [1, 2], data: Float32Array.of(1, 2) };
    const values = await modelValues(model, { x }, ["prediction", "doubled"]);
    const [prediction, doubled] = [...values.values()].map((value) => toNumbers(value)[0] as number);
    expect(doubled).toBeCloseTo(2 * (prediction as number), 6);
  });

  it("are a recipe, which learns what it should", async () => {
    expect(knownObjectives().map(({ name }) => name)).toContain("regression");
    const directory = join(folder, "run");
    const result = await runTraining(
      {
        objective: { name: "regression", scale: 0.5 },
        model: { architecture: "config", config },
        training: { steps: 200, batchSize: 8, learningRate: 0.1, weightDecay: 0 },
        engine: { name: "onnxruntime", device: "cpu", threads: 1 },
      },
      { directory },
    );
    expect(result.steps).toBe(200);
    const model = await loadModel(directory);
    const [weight] = await Promise.all([...model.parameters().values()].map((parameter) => parameter.read()));
    expect(weight && [...toNumbers(weight)].map(Math.round)).toEqual([2, -1]);
  });
});
