/** A run directory of version 1, before objectives, markers and optimizer state by name: golden/run-of-version-1, stopped after step 2 of 4. */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunDirectory } from "./directory.node.js";
import { runTraining } from "./index.js";
import { openTrainedModel } from "./trained-model.node.js";

const golden = fileURLToPath(new URL("./golden/run-of-version-1", import.meta.url));

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tsumiki-version-1-"));
  await cp(golden, directory, { recursive: true });
  const text = join(directory, "text.txt");
  await writeFile(text, "the cat sat on the mat. the dog sat on the log. ".repeat(30));
  const recipe = join(directory, "recipe.json");
  await writeFile(recipe, (await readFile(recipe, "utf8")).replace('"TEXT"', JSON.stringify(text)));
});
afterEach(() => rm(directory, { recursive: true }));

describe("a run of version 1", () => {
  it("is resumed to the losses that it had, z-loss included, under a recipe of today", async () => {
    const result = await runTraining(undefined, { directory, resume: true, allowEngineChange: true });
    expect(result).toMatchObject({ steps: 4, stopped: false });
    const rows = (await (await RunDirectory.open(directory)).metrics()).filter(
      ({ loss, step }) => loss !== undefined && step > 2,
    );
    // What the release that began it measured.
    const expected = [
      { loss: 2.569612979888916, auxiliaryLoss: 0.006989479064941406, gradientNorm: 0.7824379205703735 },
      { loss: 2.5689055919647217, auxiliaryLoss: 0.006977081298828125, gradientNorm: 0.854009747505188 },
    ];
    for (const [i, row] of expected.entries())
      for (const [key, value] of Object.entries(row)) expect(rows[i]?.[key]).toBeCloseTo(value, 4);
    expect(result.validation?.loss).toBeCloseTo(2.58299252536747, 4);
    expect(JSON.parse(await readFile(join(directory, "recipe.json"), "utf8"))).toMatchObject({
      version: 2,
      objective: { name: "causal-lm", zLoss: 0.001 },
    });
  });

  it("is opened as it stands, from its checkpoint", async () => {
    const { model, openTokenizer } = await openTrainedModel(directory);
    expect(model.kind).toBe("causal-lm");
    expect((await openTokenizer()).encode("the cat").length).toBe(7);
  });

  it("stays as it is when it cannot be resumed", async () => {
    const before = await readFile(join(directory, "recipe.json"), "utf8");
    await rm(join(directory, "checkpoints/step-000002/optimizer.safetensors"));
    await expect(runTraining(undefined, { directory, resume: true, allowEngineChange: true })).rejects.toThrow(
      /optimizer\.safetensors/,
    );
    expect(await readFile(join(directory, "recipe.json"), "utf8")).toBe(before);
    expect(await readFile(join(directory, "metrics.jsonl"), "utf8")).toBe(await readFile(join(golden, "metrics.jsonl"), "utf8"));
  });
});
