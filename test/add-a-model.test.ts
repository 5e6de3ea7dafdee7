/** The model of docs/add-a-model.md, as it is printed: short, loaded from a directory of transformers, saved, and equal to it. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../src/engine/onnxruntime/node.js";
import { type HostArray, toNumbers } from "../src/graph/host-array.js";
import { loadModel, saveModel } from "../src/models/index.js";
import { differentGradients, goldenDecoder, writeGoldenDirectory } from "../src/models/testing/golden-decoder.js";
import { bool, compile, int32 } from "../src/program/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("the model in docs/add-a-model.md", async () => {
  const printed = /^```ts model\n(.*?)^```$/ms.exec(readFileSync(join(root, "docs/add-a-model.md"), "utf8"))?.[1] ?? "";
  // Inside the repository, from where the package's own name leads to `src/`.
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  const folder = mkdtempSync(join(root, ".tsumiki", "model-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "olmo.ts"), printed);
  await import(/* @vite-ignore */ join(folder, "olmo.ts"));
  const golden = goldenDecoder("guide-olmo");
  const engine = await onnxRuntimeNode({ threads: 1 });

  it("takes less than 100 lines of code", () => {
    const code = printed.split("\n").filter((line) => line.trim() && !line.trim().startsWith("/**"));
    expect(code.length).toBeGreaterThan(50);
    expect(code.length).toBeLessThan(100);
  });

  it("computes the logits and gradients of transformers, also when it was saved and loaded again", async () => {
    await writeGoldenDirectory(golden, join(folder, "python"));
    await saveModel(await loadModel(join(folder, "python")), join(folder, "saved"));
    const model = await loadModel(join(folder, "saved"), { kind: "causal-lm" });
    await using program = compile(
      ({ ids, real }) => ({ logits: model.forward(ids, { keys: real }) }),
      { ids: int32("batch", "seq"), real: bool("batch", "seq") },
      { engine },
    );
    const real = golden.tensor("real") as HostArray<"bool">;
    const { logits } = await program({ ids: golden.tensor("ids") as HostArray<"int32">, real });
    const expected = toNumbers(golden.tensor("logits"));
    const vocabulary = logits.shape.at(-1) as number;
    const differences = logits
      .toNumbers()
      .map((value, i) => (real.data[Math.floor(i / vocabulary)] ? Math.abs(value - (expected[i] as number)) : 0));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
    expect(await differentGradients(model, golden, engine)).toEqual([]);
  });
});
