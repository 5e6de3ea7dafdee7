/** Variables in safetensors files (Node): model parameters, optimizer state. */

import { statSync } from "node:fs";
import { resolve } from "node:path";
import { TsumikiError } from "../errors.js";
import type { DType } from "../graph/dtype.js";
import type { HostArray } from "../graph/host-array.js";
import type { FileSlice, Variable, VariableHome } from "../graph/variable.js";
import { readSafetensors, writeSafetensors } from "./safetensors.js";
import type { SafetensorsMetadata, TensorLayout } from "./safetensors-format.js";
import { convertFloats, type MatchOptions, matchTensors } from "./variable-match.js";

export type { MatchOptions };

/**
 * Writes variables under their names, atomically, one at a time in memory. A variable that lay in the old file of this name lies
 * in the new one afterwards.
 */
export async function saveVariables(
  path: string,
  variables: ReadonlyMap<string, Variable>,
  metadata: SafetensorsMetadata = { format: "pt" },
): Promise<void> {
  const entries = [...variables].map(([name, variable]) => ({
    name,
    dtype: variable.dtype,
    shape: variable.shape,
    data: async () => (await variable.read()).data,
  }));
  await writeSafetensors(path, entries, metadata);
  const moved = new Map([...variables].filter(([, variable]) => pathOf(variable) === resolve(path)));
  if (moved.size > 0) await openVariables(path, moved, { ignore: (name) => variables.has(name) });
}

/**
 * Reads every variable from a file. All names, shapes and dtypes are checked before the first value is taken, so a file that
 * does not fit changes nothing. Other float types are converted to the variable's.
 *
 * @throws TsumikiError CHECKPOINT for a truncated or foreign file, or one that does not fit, naming every tensor that is wrong
 */
export async function loadVariables(
  path: string,
  variables: ReadonlyMap<string, Variable>,
  options: MatchOptions = {},
): Promise<void> {
  await using file = await readSafetensors(path);
  const names = matchTensors(path, file.tensors, variables, options);
  const values = new Map<Variable, HostArray>();
  for (const [variable, name] of names) values.set(variable, convertFloats(await file.read(name), variable.dtype));
  for (const [variable, value] of values) variable.write(value);
}

/**
 * As `loadVariables`, but the values stay in the file until they are needed: those of the same dtype are used where they lie by
 * frozen programs, without a copy. The file must remain as it is; a changed one is noticed.
 */
export async function openVariables(
  path: string,
  variables: ReadonlyMap<string, Variable>,
  options: MatchOptions = {},
): Promise<void> {
  await using file = await readSafetensors(path);
  const source: Source = { path: resolve(path), identity: identify(path) };
  for (const [variable, name] of matchTensors(path, file.tensors, variables, options)) {
    variable.moveTo(homeInFile(source, name, file.tensors.get(name) as TensorLayout, variable.dtype));
    places.set(variable, { path: source.path, version: variable.version });
  }
}

/** Which file a variable was opened from, and the version that this made; later versions lie elsewhere. */
const places = new WeakMap<Variable, { readonly path: string; readonly version: number }>();

function pathOf(variable: Variable): string | undefined {
  const place = places.get(variable);
  return place?.version === variable.version ? place.path : undefined;
}

/** A tensor of a file as the home of a variable's value. */
function homeInFile({ path, identity }: Source, name: string, layout: TensorLayout, dtype: DType): VariableHome {
  const checkIdentity = () => {
    if (identify(path) === identity) return;
    throw new TsumikiError(
      "CHECKPOINT",
      `${path} was replaced or removed after tensor ${JSON.stringify(name)} was opened in it. Load it again.`,
    );
  };
  const read = async (): Promise<HostArray> => {
    checkIdentity();
    await using file = await readSafetensors(path);
    return convertFloats(await file.read(name), dtype);
  };
  if (layout.dtype !== dtype) return { read };
  return {
    read,
    get file(): FileSlice {
      checkIdentity();
      return { path, byteOffset: layout.byteOffset, byteLength: layout.byteLength };
    },
  };
}

interface Source {
  /** Absolute. */
  readonly path: string;
  readonly identity: string | undefined;
}

/** What tells a file from another one that takes its name; undefined where there is none. */
function identify(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  return status && [status.dev, status.ino, status.size, status.mtimeMs].join(":");
}
