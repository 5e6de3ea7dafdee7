/** A few training steps of one model in a process of its own, and the most memory that it had; Linux only. */

import { writeFileSync } from "node:fs";
import { createEngine } from "../../src/engine/index.js";
import { TsumikiError } from "../../src/errors.js";
import { recomputeLayers } from "../../src/inspect/index.js";
import { modelFromConfig } from "../../src/models/index.js";
import { AdamW } from "../../src/optim/index.js";
import { compile, int32 } from "../../src/program/index.js";
import type { MemoryTask } from "../memory.js";
import { peakMemoryBytes } from "../protocol.js";

const { config, batch, context, recompute, engine: name, threads } = JSON.parse(process.argv[2] ?? "") as MemoryTask;

try {
  const engine = await createEngine({ engine: name, device: "cpu", threads });
  const model = modelFromConfig(config, undefined, "causal-lm").initialize(0);
  if (recompute) recomputeLayers(model);
  const optimizer = new AdamW(model);
  const program = compile(
    ({ ids, labels }) => {
      const loss = model.loss(ids, labels);
      optimizer.update(loss, { learningRate: 1e-3, clipNorm: 1 });
      return { loss };
    },
    { ids: int32("batch", "seq"), labels: int32("batch", "seq") },
    { engine },
  );
  const data = Int32Array.from({ length: batch * context }, (_, i) => (i * 7919) % model.vocabSize);
  const tokens = { dtype: "int32", shape: [batch, context], data } as const;
  const step = () => program({ ids: tokens, labels: tokens });

  await step();
  await step();
  const startPeakMemoryBytes = peakMemoryBytes();
  // Buffers that nobody holds any more are freed a turn after they were found.
  for (let i = 0; i < 2; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  writeFileSync("/proc/self/clear_refs", "5"); // the high-water mark begins anew
  await step();
  console.log(JSON.stringify({ peakMemoryBytes: peakMemoryBytes(), startPeakMemoryBytes }));
} catch (error) {
  if (!(error instanceof TsumikiError && error.code === "ENGINE_ABSENT")) throw error;
  console.log(JSON.stringify({ absent: error.message }));
}
process.exit(0);
