/** Checkpoints of any size that take no room on a disk: whole headers, and holes where the data would be (it reads as zeros). */

import { open, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bytesPerElement, type FloatDType } from "../../graph/dtype.js";
import { elementCount } from "../../graph/host-array.js";
import { planSafetensors, type SafetensorsPlan, type TensorDescription } from "../safetensors-format.js";
import { groupIntoShards, indexFile, shardName, weightsFile } from "../safetensors-index.js";

export interface HollowFile {
  readonly path: string;
  readonly plan: SafetensorsPlan<TensorDescription>;
}

/** Writes the files of parameters of these shapes into a directory: one, or several of at most `maxShardBytes` and their index. */
export async function writeHollowCheckpoint(
  directory: string,
  parameters: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  { dtype, maxShardBytes = Number.POSITIVE_INFINITY }: { readonly dtype: FloatDType; readonly maxShardBytes?: number },
): Promise<HollowFile[]> {
  const tensors = [...parameters].map(([name, { shape }]) => ({ name, dtype, shape }));
  const shards = groupIntoShards(tensors, ({ shape }) => bytesPerElement(dtype) * elementCount(shape), maxShardBytes);
  const names = shards.map((_, i) => (shards.length === 1 ? weightsFile : shardName(i, shards.length)));
  const files = shards.map((shard, i) => ({
    path: join(directory, names[i] as string),
    plan: planSafetensors<TensorDescription>(shard, { format: "pt" }),
  }));
  for (const { path, plan } of files) {
    await writeFile(path, plan.start);
    await truncate(path, plan.fileBytes);
  }
  if (files.length > 1) {
    const weightMap = Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]])));
    await writeFile(join(directory, indexFile), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  }
  return files;
}

/** Writes bytes into the hole of a file. */
export async function fillHole(path: string, position: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(bytes, 0, bytes.length, position);
}
