/** Run by onnx-export.test.ts in a process of its own: what transformers.js makes of directories. Prints a JSON list. */

import { basename, dirname } from "node:path";
import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from "@huggingface/transformers";

const [text, count, ...directories] = /** @type {[string, string, ...string[]]} */ (process.argv.slice(2));
env.allowRemoteModels = false;
const ids = (/** @type {Tensor} */ tensor) => Array.from(tensor.data, Number);

const results = [];
for (const directory of directories) {
  env.localModelPath = `${dirname(directory)}/`;
  const name = basename(directory);
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForCausalLM.from_pretrained(name, { dtype: "fp32", device: "cpu" });
  const inputs = tokenizer(text);
  const { logits } = await model(inputs);
  const output = await model.generate({ ...inputs, max_new_tokens: Number(count), do_sample: false });

  // Two texts of different lengths, the shorter one padded on the left.
  const batch = { input_ids: [0, 0, 5, 6, 1, 2, 3, 4], attention_mask: [0, 0, 1, 1, 1, 1, 1, 1] };
  const padded = Object.fromEntries(
    Object.entries(batch).map(([key, values]) => [key, new Tensor("int64", BigInt64Array.from(values, BigInt), [2, 4])]),
  );
  const { logits: ofBatch } = await model(padded);
  results.push({
    prompt: ids(inputs.input_ids),
    logits: Array.from(logits.data),
    generated: ids(/** @type {Tensor} */ (output)),
    batch: { shape: ofBatch.dims, data: Array.from(ofBatch.data) },
  });
  await model.dispose();
}

console.log(JSON.stringify(results));
