/**
 * Models as ONNX files with their cache, in the layout that transformers.js (`@huggingface/transformers`) runs:
 *
 * ```
 * my-llama/
 *   config.json, generation_config.json, tokenizer.json, tokenizer_config.json
 *   onnx/model.onnx         the graph; the parameters too, where they fit
 *   onnx/model.onnx_data    the parameters of large models
 * ```
 */

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import "../graph/methods.js";
import { ArgumentError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { addDims, symbol } from "../graph/dim.js";
import { bytesPerElement } from "../graph/dtype.js";
import type { Graph } from "../graph/graph.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { cast } from "../graph/ops/cast.js";
import { concat } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import { runTrace } from "../graph/trace.js";
import type { Variable } from "../graph/variable.js";
import { type DecoderGeometry, decoderGeometry } from "../inspect/geometry.js";
import { configOf } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { saveConfig } from "../models/saved-model.node.js";
import { optimize } from "../onnx/passes/index.js";
import { type ExternalConstant, writeOnnx } from "../onnx/writer.js";
import { withInputs } from "../program/build.js";
import { writeExternalWeights } from "../program/external-weights.node.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";

export interface ExportOnnxOptions {
  /** Saved beside the model: transformers.js cannot make text without. */
  readonly tokenizer?: Tokenizer;
  /** Whether the parameters have a file of their own. Default: when they take more than 1.5 · 10⁹ bytes (an ONNX file holds 2³¹). */
  readonly externalData?: boolean;
}

const mostInlineBytes = 1.5e9;
const dataFile = "model.onnx_data";

/**
 * Writes a model in float32 as a directory that transformers.js loads as `dtype: "fp32"`.
 *
 * @throws TsumikiError ARGUMENT where parameters are to be in the ONNX file and do not fit; the disk's error as it is
 */
export async function exportOnnx(model: CausalLM, directory: string, options: ExportOnnxOptions = {}): Promise<void> {
  const geometry = decoderGeometry(configOf(model));
  const { variables, ...graph } = decodingGraph(model, geometry);
  const bytes = [...variables.values()].reduce(
    (total, { dtype, shape }) => total + bytesPerElement(dtype) * elementCount(shape),
    0,
  );
  const { tokenizer, externalData = bytes > mostInlineBytes } = options;
  if (!externalData && bytes > mostInlineBytes)
    throw new ArgumentError(
      `Parameters of ${bytes} bytes do not fit into an ONNX file: leave externalData out, or set it to true.`,
    );
  const folder = join(directory, "onnx");
  await mkdir(folder, { recursive: true });
  const frozen = externalData ? await writeData(join(folder, dataFile), variables) : await readAll(variables);
  await writeFileAtomically(join(folder, "model.onnx"), writeOnnx(optimize(graph), { frozen }));
  if (!externalData) await rm(join(folder, dataFile), { force: true }); // of a model that was here before
  await tokenizer?.save(directory);
  await saveConfig(model, directory, externalData ? { "transformers.js_config": { use_external_data_format: true } } : {});
}

/** Inputs and outputs have the names and shapes that transformers.js gives and looks for. */
function decodingGraph(model: CausalLM, { layers, kvHeads, headDim }: DecoderGeometry) {
  const [batch, seq, past] = [symbol("batch_size"), symbol("sequence_length"), symbol("past_sequence_length")];
  const ids = input("input_ids", "int64", [batch, seq]);
  const mask = input("attention_mask", "int64", [batch, addDims(past, seq)]);
  const positions = input("position_ids", "int64", [batch, seq]);
  const feeds = new Map<string, Tensor>([
    ["input_ids", ids],
    ["attention_mask", mask],
    ["position_ids", positions],
  ]);
  const pastOf = (layer: number, part: "key" | "value"): Tensor => {
    const name = `past_key_values.${layer}.${part}`;
    const tensor = input(name, "float32", [batch, kvHeads, past, headDim]);
    feeds.set(name, tensor);
    return tensor;
  };
  const present = new Map<string, Tensor>();
  const caches = Array.from({ length: layers }, (_, layer) => {
    const [pastKeys, pastValues] = [pastOf(layer, "key"), pastOf(layer, "value")];
    return {
      append(newKeys: Tensor, newValues: Tensor) {
        const keys = concat([pastKeys, newKeys], 2);
        const values = concat([pastValues, newValues], 2);
        present.set(`present.${layer}.key`, keys).set(`present.${layer}.value`, values);
        return { keys, values };
      },
    };
  });
  const cache = { length: past, layer: (index: number) => caches[index] as (typeof caches)[number] };
  const { result: logits } = runTrace({ training: false, fetch: [] }, () =>
    model.forward(ids, { cache, keys: cast(mask, "bool"), positions }),
  );
  return named(withInputs(feeds, new Map([["logits", logits], ...present]), new Map()), feeds);
}

/** The graph with the inputs under their own names; those that nothing reads stay, for they are given all the same. */
function named(
  program: ReturnType<typeof withInputs>,
  feeds: ReadonlyMap<string, Tensor>,
): Graph & { variables: ReadonlyMap<string, Variable> } {
  return {
    inputs: new Map<string, Tensor>([...feeds, ...program.variables]),
    outputs: program.outputs,
    variables: program.variables,
  };
}

async function writeData(path: string, variables: ReadonlyMap<string, Variable>): Promise<Map<string, ExternalConstant>> {
  let places = new Map<string, ExternalConstant>();
  await writeFileAtomically(path, async (file) => {
    places = await writeExternalWeights(file, dataFile, variables);
  });
  return places;
}

async function readAll(variables: ReadonlyMap<string, Variable>): Promise<Map<string, HostArray>> {
  const values = new Map<string, HostArray>();
  for (const [name, variable] of variables) values.set(name, await variable.read());
  return values;
}
