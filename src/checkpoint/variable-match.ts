/** Which tensor of a file belongs to which variable. */

import { TsumikiError } from "../errors.js";
import { sameShape } from "../graph/dim.js";
import { type DType, isFloat } from "../graph/dtype.js";
import { fromNumbers, type HostArray, toNumbers } from "../graph/host-array.js";
import type { Variable } from "../graph/variable.js";

export interface MatchOptions {
  /** Further names under which a variable's tensor may stand in the file, tried in this order. */
  readonly otherNames?: (name: string) => readonly string[];
  /** Which tensors of the file belong to no variable and may be passed over. */
  readonly ignore?: (name: string) => boolean;
}

/**
 * The name of each variable's tensor.
 *
 * @throws TsumikiError CHECKPOINT naming every tensor that is missing, that belongs to no variable, or that does not fit its own
 */
export function matchTensors(
  source: string,
  tensors: ReadonlyMap<string, Pick<HostArray, "dtype" | "shape">>,
  variables: ReadonlyMap<string, Variable>,
  { otherNames = () => [], ignore = () => false }: MatchOptions,
): Map<Variable, string> {
  const found = new Map<Variable, string>();
  const missing: string[] = [];
  const unfit: string[] = [];
  for (const [name, variable] of variables) {
    const present = [name, ...otherNames(name)].find((candidate) => tensors.has(candidate));
    const tensor = present === undefined ? undefined : tensors.get(present);
    if (present === undefined || tensor === undefined) {
      missing.push(name);
      continue;
    }
    found.set(variable, present);
    if (!sameShape(tensor.shape, variable.shape))
      unfit.push(`${present} is [${tensor.shape.join(", ")}] and should be [${variable.shape.join(", ")}]`);
    else if (tensor.dtype !== variable.dtype && !(isFloat(tensor.dtype) && isFloat(variable.dtype)))
      unfit.push(`${present} is ${tensor.dtype} and should be ${variable.dtype}`);
  }
  const used = new Set(found.values());
  const unknown = [...tensors.keys()].filter((name) => !used.has(name) && !ignore(name));
  const problems = [
    ...(missing.length > 0 ? [`missing: ${list(missing)}`] : []),
    ...(unknown.length > 0 ? [`not expected: ${list(unknown)}`] : []),
    ...(unfit.length > 0 ? [`of another shape or type: ${list(unfit)}`] : []),
  ];
  if (problems.length === 0) return found;
  throw new TsumikiError("CHECKPOINT", `${source} does not fit, and nothing of it was loaded.\n  ${problems.join("\n  ")}`);
}

/** The same values in another float type. */
export const convertFloats = (value: HostArray, dtype: DType): HostArray =>
  value.dtype === dtype ? value : fromNumbers(dtype, value.shape, toNumbers(value));

const namesShown = 12;

const list = (names: readonly string[]): string =>
  names.length > namesShown ? `${names.slice(0, namesShown).join(", ")} and ${names.length - namesShown} more` : names.join(", ");
