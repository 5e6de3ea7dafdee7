import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { constant, square, sum, toNumbers } from "../graph/index.js";
import { Linear } from "../nn/linear.js";
import { AdamW } from "../optim/index.js";
import { compile } from "../program/index.js";
import { readSafetensors, saveVariables } from "./index.js";
import { loadOptimizerState } from "./optimizer-state.node.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-optimizer-state-"));
});
afterAll(() => rm(folder, { recursive: true }));

const engine = referenceEngine();
const x = constant([
  [1, -2, 3],
  [0.5, 1, -1],
]);

function training(flat = true) {
  const model = new Linear(3, 2).initialize(3);
  const optimizer = new AdamW(model, { groups: [], flat });
  const step = compile(() => optimizer.update(sum(square(model.forward(x))), { learningRate: 0.1 }), {}, { engine });
  const weights = async () => [
    ...toNumbers(await model.weight.read()),
    ...toNumbers(await (model.bias as typeof model.weight).read()),
  ];
  return { model, optimizer, step, weights };
}

it.each([
  ["by parameters", (optimizer: AdamW) => optimizer.variables()],
  ["whole vectors, as version 0.1 wrote it", (optimizer: AdamW) => optimizer.variablesNamed(["firstMoment.all.0"])],
])("the state of a small model continues a run: %s", async (name, variablesOf) => {
  const [straight, first, second] = [training(), training(), training(name !== "by parameters")];
  for (let i = 0; i < 4; i++) await straight.step({});
  for (let i = 0; i < 2; i++) await first.step({});
  const path = join(folder, `${name}.safetensors`);
  await saveVariables(path, variablesOf(first.optimizer));
  await using saved = await readSafetensors(path);
  expect([...saved.tensors.keys()].sort()).toEqual(
    name === "by parameters"
      ? ["firstMoment.bias", "firstMoment.weight", "secondMoment.bias", "secondMoment.weight", "stepCount"]
      : ["firstMoment.all.0", "secondMoment.all.0", "stepCount"],
  );
  for (const [path, variable] of first.model.variables())
    second.model
      .variables()
      .get(path)
      ?.write(await variable.read());
  await loadOptimizerState(path, second.optimizer);
  for (let i = 0; i < 2; i++) await second.step({});
  const [found, expected] = [await second.weights(), await straight.weights()];
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 6);
});

it("refuses the state of another model", async () => {
  const path = join(folder, "other.safetensors");
  await saveVariables(path, new AdamW(new Linear(4, 2)).variables());
  await expect(loadOptimizerState(path, training().optimizer)).rejects.toThrow(expect.objectContaining({ code: "CHECKPOINT" }));
});
