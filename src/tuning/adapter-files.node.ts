/**
 * Adapters as directories (Node), as Python's peft writes and reads them:
 *
 * ```
 * my-adapter/
 *   adapter_config.json         the method and its settings
 *   adapter_model.safetensors   the parameters of the adapter alone
 * ```
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.node.js";
import { convertFloats } from "../checkpoint/variable-match.js";
import { loadVariables } from "../checkpoint/variables.node.js";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { readJsonObject } from "../files/json.node.js";
import { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import type { Adapter, SaveAdapterOptions } from "./adapter.js";
import { applyTuning, methodOfPeftType, type RestoredAdapter } from "./registry.js";

export async function saveAdapter(adapter: Adapter, directory: string, options: SaveAdapterOptions): Promise<void> {
  const { config, tensors } = adapter.files(options);
  await mkdir(directory, { recursive: true });
  const entries = [...tensors].map(([name, tensor]) => ({
    name,
    dtype: "float32" as const,
    shape: tensor.shape,
    data: async () => convertFloats(await tensor.read(), "float32").data,
  }));
  await writeSafetensors(join(directory, "adapter_model.safetensors"), entries, { format: "pt" });
  await writeFileAtomically(join(directory, "adapter_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Puts the adapter of a directory on a model, from here or from Python's peft. It is in memory afterwards: the files may change.
 *
 * @throws TsumikiError CONFIG for a method or settings that are not supported; CHECKPOINT for tensors that are missing, foreign or do
 * not fit the model. The model is then as it was.
 */
export async function loadAdapter(model: Module, directory: string): Promise<Adapter> {
  const configPath = join(directory, "adapter_config.json");
  const config = await readJsonObject(configPath);
  if (config === undefined)
    throw new TsumikiError("CONFIG", `${directory} is not a saved adapter: there is no adapter_config.json.`);
  const path = join(directory, "adapter_model.safetensors");
  await using file = await readSafetensors(path);
  const shapes = new Map([...file.tensors].map(([name, { shape }]) => [name, shape]));
  const { adapter, repeated } = restoreAdapter(model, config, shapes, configPath);
  try {
    const variables = new Map(
      [...adapter.files({}).tensors].filter((entry): entry is [string, Variable] => entry[1] instanceof Variable),
    );
    await loadVariables(path, variables, { ignore: (name) => repeated.has(name) });
    for (const [name, weight] of repeated) if (weight) await requireEqual(weight, await file.read(name), name);
  } catch (error) {
    adapter.detach();
    throw error;
  }
  return adapter;
}

function restoreAdapter(
  model: Module,
  config: Readonly<Record<string, unknown>>,
  shapes: ReadonlyMap<string, readonly number[]>,
  source: string,
): RestoredAdapter {
  const own = z.object({ tuning: z.looseObject({ method: z.string() }) }).safeParse(config);
  if (own.success) return { adapter: applyTuning(model, own.data.tuning, { seed: 0 }), repeated: new Map() };
  const method = typeof config.peft_type === "string" ? methodOfPeftType(config.peft_type) : undefined;
  if (!method?.peft)
    throw new TsumikiError("CONFIG", `${source} has peft_type ${JSON.stringify(config.peft_type)}, which is not known here.`);
  return method.peft.restore(model, config, shapes);
}

/** Peft saves embeddings beside adapters of them: an adapter of other embeddings than the model's would be wrong without a sound. */
async function requireEqual(weight: Variable, saved: Awaited<ReturnType<Variable["read"]>>, name: string): Promise<void> {
  const own = convertFloats(await weight.read(), saved.dtype);
  const [a, b] = [own.data as ArrayLike<number | bigint>, saved.data as ArrayLike<number | bigint>];
  let equal = a.length === b.length;
  for (let i = 0; equal && i < a.length; i++) equal = a[i] === b[i];
  if (!equal)
    throw new TsumikiError(
      "CHECKPOINT",
      `${name} of the adapter differs from the model's ${weight.path ?? "weight"}: the adapter was trained on another model, or on one whose embeddings were resized.`,
    );
}
