/** Variables in safetensors files (Node): model parameters, optimizer state. */

import { resolve } from "node:path";
import { TsumikiError } from "../errors.js";
import { fileIdentity } from "../files/identity.node.js";
import { type DType, type FloatDType, isFloat } from "../graph/dtype.js";
import type { HostArray } from "../graph/host-array.js";
import type { FileSlice, Variable, VariableHome } from "../graph/variable.js";
import { type SafetensorsEntry, writeSafetensors } from "./safetensors.node.js";
import type { SafetensorsMetadata } from "./safetensors-format.js";
import { locateTensors, type PlacedTensor, type PlacedTensors, readTensor } from "./tensor-files.node.js";
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
  await writeSafetensors(path, variableEntries(variables), metadata);
  await reopenVariables([path], path, variables);
}

/** Variables as entries of a file, floats in `dtype` where one is given. */
export const variableEntries = (variables: ReadonlyMap<string, Variable>, dtype?: FloatDType): readonly SafetensorsEntry[] =>
  [...variables].map(([name, variable]) => {
    const stored = dtype !== undefined && isFloat(variable.dtype) ? dtype : variable.dtype;
    return { name, dtype: stored, shape: variable.shape, data: async () => convertFloats(await variable.read(), stored).data };
  });

/** The variables that lie in one of these files. */
export const variablesIn = (paths: readonly string[], variables: ReadonlyMap<string, Variable>): Map<string, Variable> => {
  const replaced = new Set(paths.map((path) => resolve(path)));
  return new Map([...variables].filter(([, variable]) => replaced.has(pathOf(variable) ?? "")));
};

/** Lets the variables that lay in files which were replaced lie in the new checkpoint. */
export async function reopenVariables(
  replaced: readonly string[],
  checkpoint: string,
  variables: ReadonlyMap<string, Variable>,
): Promise<void> {
  const moved = variablesIn(replaced, variables);
  if (moved.size > 0) await openVariables(checkpoint, moved, { ignore: (name) => variables.has(name) });
}

/**
 * Reads every variable from a checkpoint: a safetensors file, or the index of several. All names, shapes and dtypes are checked
 * before the first value is taken, so a file that does not fit changes nothing. Other float types are converted to the variable's.
 * At no time are there two copies of the parameters in memory.
 *
 * @throws TsumikiError CHECKPOINT for a truncated or foreign file, or one that does not fit, naming every tensor that is wrong
 */
export async function loadVariables(
  path: string,
  variables: ReadonlyMap<string, Variable>,
  options: MatchOptions = {},
): Promise<void> {
  // The old values go first, and one tensor at a time comes into memory. Where reading fails, the others lie in the file already.
  await openVariables(path, variables, options);
  for (const variable of new Set(variables.values())) variable.write(await variable.read());
}

/**
 * As `loadVariables`, but of each file the header alone is read, and the values stay there until they are needed: those of the
 * same dtype are used where they lie by frozen programs, without a copy. The files must remain as they are; a changed one is
 * noticed.
 */
export async function openVariables(
  path: string,
  variables: ReadonlyMap<string, Variable>,
  options: MatchOptions = {},
): Promise<void> {
  const tensors = await locateTensors(path);
  const identities = new Map(
    [...new Set([...tensors.values()].map((tensor) => tensor.path))].map((file) => [file, fileIdentity(file)]),
  );
  for (const [variable, name] of matchTensors(path, tensors, variables, options)) {
    const tensor = tensors.get(name) as PlacedTensor;
    variable.moveTo(homeInFile(tensors, name, identities.get(tensor.path), variable.dtype));
    places.set(variable, { path: resolve(tensor.path), version: variable.version });
  }
}

/** Which file a variable was opened from, and the version that this made; later versions lie elsewhere. */
const places = new WeakMap<Variable, { readonly path: string; readonly version: number }>();

function pathOf(variable: Variable): string | undefined {
  const place = places.get(variable);
  return place?.version === variable.version ? place.path : undefined;
}

/** A tensor of a file as the home of a variable's value. */
function homeInFile(tensors: PlacedTensors, name: string, identity: string | undefined, dtype: DType): VariableHome {
  const tensor = tensors.get(name) as PlacedTensor;
  const checkIdentity = () => {
    if (fileIdentity(tensor.path) === identity) return;
    throw new TsumikiError(
      "CHECKPOINT",
      `${tensor.path} was replaced or removed after tensor ${JSON.stringify(name)} was opened in it. Load it again.`,
    );
  };
  const read = async (): Promise<HostArray> => {
    checkIdentity();
    return convertFloats(await readTensor(tensors, name), dtype);
  };
  const stored = tensor.dtype;
  const widened = dtype === "float32" && (stored === "bfloat16" || stored === "float16");
  if ((stored !== dtype && !widened) || tensor.float8) return { read };
  return {
    read,
    get file(): FileSlice {
      checkIdentity();
      const { path, byteOffset, byteLength } = tensor;
      return { path: resolve(path), byteOffset, byteLength, ...(widened ? { dtype: stored } : {}) };
    },
  };
}
