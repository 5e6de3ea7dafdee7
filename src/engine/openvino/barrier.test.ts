/**
 * What is behind a barrier, in a graph that is large enough for OpenVINO to plan its memory: gradients of a model whose attention
 * runs in blocks, which compute their weights again.
 */

import { describe, expect, it } from "vitest";
import { type HostArray, toNumbers } from "../../graph/host-array.js";
import { Llama } from "../../models/index.js";
import { AdamW } from "../../optim/index.js";
import { compile, int32 } from "../../program/index.js";
import type { Engine } from "../engine.js";
import { onnxRuntimeNode } from "../onnxruntime/node.js";
import { whyNoBfloat16, whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const absent = await whyNoOpenVino();
const noBfloat16 = await whyNoBfloat16();

/** The optimizer's state after one step: the first moments are gradients. */
async function momentsAfterStep(engine: Engine, precision: "fp32" | "bf16"): Promise<ReadonlyMap<string, HostArray>> {
  const [vocabSize, context] = [64, 256];
  const model = new Llama({
    ...{ vocabSize, hiddenSize: 64, intermediateSize: 96, numHiddenLayers: 2, numAttentionHeads: 2 },
    ...{ maxPositionEmbeddings: context, tieWordEmbeddings: true },
  }).initialize(1);
  const optimizer = new AdamW(model);
  const step = compile(
    ({ ids, labels }) => {
      const loss = model.loss(ids, labels);
      optimizer.update(loss, { learningRate: 1e-3 });
      return { loss };
    },
    { ids: int32("batch", "seq"), labels: int32("batch", "seq") },
    { engine, precision },
  );
  const tokens = (factor: number) => Int32Array.from({ length: 2 * context }, (_, i) => (i * factor) % vocabSize);
  const shape = [2, context];
  await step({ ids: { dtype: "int32", shape, data: tokens(7) }, labels: { dtype: "int32", shape, data: tokens(11) } });
  const values = new Map<string, HostArray>();
  for (const [name, variable] of optimizer.variables()) if (name.startsWith("first")) values.set(name, await variable.read());
  await step.release();
  return values;
}

describe.skipIf(absent !== undefined)(`barriers on OpenVINO${absent === undefined ? "" : `, ${absent}`}`, () => {
  it.for([
    { precision: "fp32", tolerance: 1e-3 },
    { precision: "bf16", tolerance: 0.1 },
  ] as const)(
    "recompute attention to the gradients of ONNX Runtime, in $precision",
    async ({ precision, tolerance }, { skip }) => {
      skip(precision === "bf16" && noBfloat16 !== undefined, noBfloat16);
      const [here, there] = [await openVino({ threads: 2 }), await onnxRuntimeNode({ threads: 2 })];
      const found = await momentsAfterStep(here, precision);
      const expected = await momentsAfterStep(there, "fp32");
      await Promise.all([here.close(), there.close()]);
      expect(expected.size).toBeGreaterThan(0);
      for (const [name, array] of expected) {
        const [values, target] = [toNumbers(found.get(name) as HostArray), toNumbers(array)];
        const norm = (numbers: Float64Array) => Math.sqrt(numbers.reduce((total, value) => total + value * value, 0));
        const difference = target.map((value, i) => value - (values[i] as number));
        expect(norm(difference) / norm(target), name).toBeLessThan(tolerance);
      }
    },
  );
});
