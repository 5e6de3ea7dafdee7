/**
 * How long a model of seven billion parameters takes to open: Llama 2 7B in bfloat16, two files of 13.5 GB together and their
 * index. The files are holes behind whole headers, so they take no room. Median of nine.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openVariables } from "../src/checkpoint/index.js";
import { writeHollowCheckpoint } from "../src/checkpoint/testing/hollow-checkpoint.js";
import { checkpointVariables } from "../src/models/architectures.js";
import { loadModel, modelFromConfig } from "../src/models/index.js";

const config = {
  ...{ model_type: "llama", vocab_size: 32000, hidden_size: 4096, intermediate_size: 11008 },
  ...{ num_hidden_layers: 32, num_attention_heads: 32, max_position_embeddings: 4096 },
};
const folder = mkdtempSync(join(tmpdir(), "tsumiki-open-"));
const parameters = checkpointVariables(modelFromConfig(config, undefined, "causal-lm"));
const files = await writeHollowCheckpoint(folder, parameters, { dtype: "bfloat16", maxShardBytes: 1e10 });
await writeFile(join(folder, "config.json"), JSON.stringify(config));
const gigabytes = files.reduce((total, { plan }) => total + plan.fileBytes, 0) / 1e9;
const headerBytes = files.reduce((total, { plan }) => total + plan.start.length, 0);
console.log(`${files.length} files of ${gigabytes.toFixed(1)} GB, ${parameters.size} tensors, headers of ${headerBytes} bytes`);

const times: Record<"headers" | "model", number[]> = { headers: [], model: [] };
for (let round = 0; round < 9; round++) {
  const begin = performance.now();
  await openVariables(join(folder, "model.safetensors.index.json"), parameters);
  const opened = performance.now();
  await loadModel(folder, { kind: "causal-lm" });
  times.headers.push(opened - begin);
  times.model.push(performance.now() - opened);
}
const summary = ([...values]: number[]) =>
  `${values.sort((a, b) => a - b)[4]?.toFixed(1)} ms (${values[0]?.toFixed(1)} to ${values[8]?.toFixed(1)})`;
console.log(`headers: first ${times.headers[0]?.toFixed(1)} ms, median ${summary(times.headers)}`);
console.log(`loadModel: first ${times.model[0]?.toFixed(1)} ms, median ${summary(times.model)}`);
rmSync(folder, { recursive: true });
