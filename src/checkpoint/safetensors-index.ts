/** `model.safetensors.index.json`: which file of several holds which tensor. */

import * as z from "zod";
import { TsumikiError } from "../errors.js";
import type { TensorDescription } from "./safetensors-format.js";

export const weightsFile = "model.safetensors";
export const indexFile = "model.safetensors.index.json";

/** The files of a checkpoint that may be replaced or removed when it is saved again. */
export const isWeightsFile = (name: string): boolean => /^model(-\d{5}-of-\d{5})?\.safetensors$/.test(name) || name === indexFile;

const schema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * The file of each tensor, from the text of an index.
 *
 * @throws TsumikiError CHECKPOINT where it is not an index
 */
export function parseIndex(text: string, source: string): ReadonlyMap<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TsumikiError("CHECKPOINT", `${source} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new TsumikiError("CHECKPOINT", `${source} is not an index of safetensors files:\n${z.prettifyError(parsed.error)}`);
  return new Map(Object.entries(parsed.data.weight_map));
}

/** Whether the name of a file stays inside its folder, on every system. */
export const staysInside = (name: string): boolean =>
  name !== "" && !/^([\\/]|[A-Za-z]:)|\0/.test(name) && !name.split(/[\\/]/).some((part) => part === ".." || part === ".");

/** Tensors in groups of at most `maxBytes`; one that is larger has a group of its own. */
export function groupIntoShards<T extends TensorDescription>(
  tensors: readonly T[],
  bytesOf: (tensor: T) => number,
  maxBytes: number,
): readonly (readonly T[])[] {
  const shards: T[][] = [];
  let free = 0;
  for (const tensor of tensors) {
    const bytes = bytesOf(tensor);
    const shard = shards.at(-1);
    if (shard && bytes <= free) shard.push(tensor);
    else {
      shards.push([tensor]);
      free = maxBytes;
    }
    free -= bytes;
  }
  return shards;
}

export const shardName = (index: number, count: number): string =>
  `model-${String(index + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`;
