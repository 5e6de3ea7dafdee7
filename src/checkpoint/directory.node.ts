/** The parameters of a Hugging Face directory: `model.safetensors`, or several files of limited size and their index. */

import { randomBytes } from "node:crypto";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError, TsumikiError } from "../errors.js";
import { syncFolder, writeFileAtomically } from "../files/atomic.node.js";
import { bytesPerElement, type FloatDType } from "../graph/dtype.js";
import { elementCount } from "../graph/host-array.js";
import type { Variable } from "../graph/variable.js";
import { type SafetensorsEntry, writeSafetensors } from "./safetensors.node.js";
import { groupIntoShards, indexFile, isWeightsFile, shardName, weightsFile } from "./safetensors-index.js";
import { saveEntry } from "./tensor-files.node.js";
import { reopenVariables, variableEntries, variablesIn } from "./variables.node.js";

export interface WeightsOptions {
  /** What floats are written in. Default: what they are. */
  readonly dtype?: FloatDType;
  /** The most bytes of tensors in a file; more are spread over several. Default 5 · 10⁹. */
  readonly maxShardBytes?: number;
}

const defaultShardBytes = 5e9;

/** The file of a directory that its parameters are opened from: `model.safetensors`, or the index; undefined where there is neither. */
async function weightsOf(directory: string): Promise<string | undefined> {
  const names = await namesIn(directory);
  const name = [weightsFile, indexFile].find((candidate) => names.includes(candidate));
  return name === undefined ? undefined : join(directory, name);
}

/**
 * Writes parameters into a directory, one at a time in memory. Those that were there before are replaced when the new ones are
 * complete; variables that lay in them lie in the new ones afterwards.
 */
export async function saveWeights(
  directory: string,
  variables: ReadonlyMap<string, Variable>,
  { dtype, maxShardBytes = defaultShardBytes }: WeightsOptions = {},
): Promise<void> {
  if (!(maxShardBytes > 0)) throw new ArgumentError(`maxShardBytes is ${maxShardBytes}, but it must be positive.`);
  const old = (await readdir(directory)).filter(isWeightsFile);
  const replaced = old.map((name) => join(directory, name));
  if (dtype) await keepPrecise(variablesIn(replaced, variables), dtype);
  const shards = groupIntoShards(variableEntries(variables, dtype), bytesOf, maxShardBytes);
  const names = shards.length > 1 ? await writeShards(directory, shards) : await writeSingle(directory, shards[0] ?? []);
  const checkpoint = join(directory, names.includes(indexFile) ? indexFile : weightsFile);
  // What would be taken for the new parameters goes before anybody is told of these.
  for (const name of old) if (!names.includes(name)) await rm(join(directory, name), { force: true });
  await syncFolder(directory);
  await reopenVariables(replaced, checkpoint, variables);
}

/** The weight files of a directory, as paths. */
export const weightFilesOf = async (directory: string): Promise<string[]> =>
  (await readdir(directory)).filter(isWeightsFile).map((name) => join(directory, name));

/**
 * Lets another directory take the place of this one's weight files: `replace` does so. Variables that lay in the old files lie in the new
 * ones afterwards, or in memory where the new ones have fewer bits.
 */
export async function replacingWeights(
  directory: string,
  variables: ReadonlyMap<string, Variable>,
  dtype: FloatDType | undefined,
  replace: (old: readonly string[]) => Promise<void>,
): Promise<void> {
  const old = await weightFilesOf(directory);
  if (dtype) await keepPrecise(variablesIn(old, variables), dtype);
  await replace(old);
  await reopenVariables(old, await requireWeights(directory), variables);
}

/** Values that lie in a file which is about to hold them with fewer bits move into memory. */
async function keepPrecise(variables: ReadonlyMap<string, Variable>, dtype: FloatDType): Promise<void> {
  for (const variable of variables.values()) if (variable.dtype !== dtype) variable.write(await variable.read());
}

const bytesOf = ({ dtype, shape }: SafetensorsEntry): number => bytesPerElement(dtype) * elementCount(shape);

async function writeSingle(directory: string, entries: readonly SafetensorsEntry[]): Promise<readonly string[]> {
  await writeSafetensors(join(directory, weightsFile), entries, { format: "pt" });
  return [weightsFile];
}

/**
 * All files are written before the first takes its name: until then variables may be read from files of these names. Each carries
 * a mark of this save, by which a reader notices when the machine stopped while they were renamed.
 */
async function writeShards(directory: string, shards: readonly (readonly SafetensorsEntry[])[]): Promise<readonly string[]> {
  const names = shards.map((_, i) => shardName(i, shards.length));
  const temporary = (name: string) => join(directory, `.${name}.new`);
  const metadata = { format: "pt", [saveEntry]: randomBytes(8).toString("hex") };
  try {
    for (const [i, shard] of shards.entries()) await writeSafetensors(temporary(names[i] as string), shard, metadata);
  } catch (error) {
    for (const name of names) await rm(temporary(name), { force: true });
    throw error;
  }
  for (const name of names) await rename(temporary(name), join(directory, name));
  await syncFolder(directory);
  const entries = shards.flat();
  const index = {
    metadata: { total_size: entries.reduce((total, entry) => total + bytesOf(entry), 0) },
    weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, names[i]]))),
  };
  await writeFileAtomically(join(directory, indexFile), `${JSON.stringify(index, null, 2)}\n`);
  return [...names, indexFile];
}

/** @throws TsumikiError CHECKPOINT where a directory has no parameters that can be read here */
export async function requireWeights(directory: string): Promise<string> {
  const path = await weightsOf(directory);
  if (path !== undefined) return path;
  throw new TsumikiError("CHECKPOINT", `There is no ${weightsFile} in ${directory}. ${await describeDirectory(directory)}`);
}

const namesIn = (directory: string): Promise<readonly string[]> => readdir(directory).catch(() => []);

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (status) => status.isFile(),
    () => false,
  );

/** What a directory holds instead of a model, and what to do about it. */
export async function describeDirectory(directory: string): Promise<string> {
  if (await isFile(directory))
    return directory.endsWith(".gguf") ? "It is a GGUF file: open it with importGguf." : "It is a file, not a directory.";
  const names = await namesIn(directory);
  if (names.includes("checkpoints")) return "It is a run that has not ended: its parameters are in checkpoints/.";
  if (names.some((name) => /^model-\d+-of-\d+\.safetensors$/.test(name)))
    return `Its parameters are spread over several files, but ${indexFile}, which says how, is missing.`;
  if (names.some((name) => name.endsWith(".gguf"))) return "Its parameters are in GGUF: import them with importGguf.";
  if (names.some((name) => /\.(bin|pth?|ckpt)$/.test(name)))
    return "Its parameters are in PyTorch's own format: save it as safetensors, in Python with save_pretrained.";
  return names.length > 0 ? `It holds ${names.slice(0, 8).join(", ")}.` : "It is empty or does not exist.";
}
