/** The tensors of a checkpoint, in one safetensors file or in several with an index: where each of them lies. */

import { readFile, realpath } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, sep } from "node:path";
import { TsumikiError } from "../errors.js";
import type { HostArray } from "../graph/host-array.js";
import { applyScales, scaleNameOf } from "./float8.js";
import { readSafetensors } from "./safetensors.node.js";
import type { SafetensorsMetadata, TensorLayout } from "./safetensors-format.js";
import { parseIndex, staysInside } from "./safetensors-index.js";

export interface PlacedTensor extends TensorLayout {
  /** The file that holds it. */
  readonly path: string;
}

export type PlacedTensors = ReadonlyMap<string, PlacedTensor>;

/** The entry of a shard's metadata that is the same in all that were saved together. */
export const saveEntry = "tsumiki_save";

/**
 * Reads the headers of a checkpoint's files, and nothing of their data.
 *
 * @param path a safetensors file, or an index (`.json`) whose files lie in its folder
 * @throws TsumikiError CHECKPOINT for a file that is missing, truncated or foreign, and for an index that does not fit its files,
 * naming everything that is wrong
 */
export async function locateTensors(path: string): Promise<PlacedTensors> {
  if (!path.endsWith(".json")) return new Map((await readHeader(path)).tensors);
  const fileOf = parseIndex(await readIndex(path), path);
  const names = [...new Set(fileOf.values())];
  const problems: string[] = [];
  const tensors = new Map<string, PlacedTensor>();
  const saves = new Map<string, string>();
  for (const name of names) {
    if (!staysInside(name) || !(await folderStaysInside(dirname(path), name))) {
      problems.push(`it names ${JSON.stringify(name)}, which is not a file inside the folder`);
      continue;
    }
    let header: Header;
    try {
      header = await readHeader(join(dirname(path), name));
    } catch (error) {
      if (!(error instanceof TsumikiError)) throw error;
      problems.push(error.message);
      continue;
    }
    const { [saveEntry]: save } = header.metadata;
    if (save !== undefined) saves.set(name, save);
    for (const [tensor, place] of header.tensors) {
      if (fileOf.get(tensor) === name) tensors.set(tensor, place);
      else
        problems.push(
          `${name} holds ${tensor}, which the index ${fileOf.has(tensor) ? `puts into ${fileOf.get(tensor)}` : "does not name"}`,
        );
    }
    for (const [tensor, file] of fileOf)
      if (file === name && !header.tensors.has(tensor)) problems.push(`${name} should hold ${tensor}, but does not`);
  }
  if (new Set(saves.values()).size > 1)
    problems.push(
      `${[...saves.keys()].join(", ")} were not saved together: saving was interrupted, and they belong to two models`,
    );
  if (problems.length === 0) return tensors;
  throw new TsumikiError("CHECKPOINT", `${path} does not fit its files, and nothing was loaded.\n  ${problems.join("\n  ")}`);
}

/** A file may be a link, as in the hub's cache; a link to a folder that leads out of this one is none of the model's. */
async function folderStaysInside(folder: string, name: string): Promise<boolean> {
  if (!/[\\/]/.test(name)) return true;
  const [root, holder] = await Promise.all([folder, dirname(join(folder, name))].map((each) => realpath(each).catch(() => each)));
  const below = relative(root as string, holder as string);
  return below !== ".." && !below.startsWith(`..${sep}`) && !isAbsolute(below);
}

interface Header {
  readonly metadata: SafetensorsMetadata;
  readonly tensors: PlacedTensors;
}

async function readHeader(path: string): Promise<Header> {
  await using file = await readSafetensors(path);
  return { metadata: file.metadata, tensors: new Map([...file.tensors].map(([name, layout]) => [name, { ...layout, path }])) };
}

async function readIndex(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new TsumikiError("CHECKPOINT", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The values of a tensor; those of 8 bits with their scales, as float32. */
export async function readTensor(tensors: PlacedTensors, name: string): Promise<HostArray> {
  const place = tensors.get(name) as PlacedTensor;
  const value = await readFrom(place.path, name);
  const scaleName = place.float8 && scaleNameOf(name, tensors);
  if (scaleName)
    applyScales(value.data as Float32Array, value.shape, await readFrom(tensors.get(scaleName)?.path as string, scaleName), name);
  return value;
}

async function readFrom(path: string, name: string): Promise<HostArray> {
  await using file = await readSafetensors(path);
  return file.read(name);
}
