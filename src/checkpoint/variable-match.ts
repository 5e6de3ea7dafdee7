/** Which tensor of a file belongs to which variable. */

import { TsumikiError } from "../errors.js";
import { sameShape } from "../graph/dim.js";
import { type DType, fromFloat16Bits, isFloat } from "../graph/dtype.js";
import { fromNumbers, type HostArray, toNumbers } from "../graph/host-array.js";
import type { Variable } from "../graph/variable.js";
import { isActivationScale, scaleNameOf } from "./float8.js";
import type { TensorLayout } from "./safetensors-format.js";

export interface MatchOptions {
  /** Further names under which a variable's tensor may stand in the file, tried in this order. */
  readonly otherNames?: (name: string) => readonly string[];
  /** Which tensors of the file belong to no variable and may be passed over. */
  readonly ignore?: (name: string) => boolean;
  /** Tensors that may only repeat others, by name, and what they repeat: an output layer that is tied to the embedding. */
  readonly repeats?: ReadonlyMap<string, string>;
}

/**
 * The name of each variable's tensor.
 *
 * @throws TsumikiError CHECKPOINT naming every tensor that is missing, that belongs to no variable, or that does not fit its own
 */
export function matchTensors(
  source: string,
  tensors: ReadonlyMap<string, Pick<TensorLayout, "dtype" | "shape" | "float8">>,
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
  const float8 = [...tensors].filter(([, tensor]) => tensor.float8 !== undefined).map(([name]) => name);
  for (const scales of float8.map((name) => scaleNameOf(name, tensors))) if (scales) used.add(scales);
  if (float8.length > 0) for (const name of tensors.keys()) if (isActivationScale(name)) used.add(name);
  const unknown = [...tensors.keys()].filter((name) => !used.has(name) && !ignore(name));
  const problems = [
    ...(missing.length > 0 ? [`missing: ${missing.join(", ")}`] : []),
    ...(unknown.length > 0 ? [`not expected: ${unknown.join(", ")}`] : []),
    ...(unfit.length > 0 ? [`of another shape or type: ${unfit.join(", ")}`] : []),
  ];
  if (problems.length === 0) return found;
  throw new TsumikiError("CHECKPOINT", `${source} does not fit, and nothing of it was loaded.\n  ${problems.join("\n  ")}`);
}

/** The same values in another float type. 16-bit floats are widened without a copy in between. */
export function convertFloats(value: HostArray, dtype: DType): HostArray {
  if (value.dtype === dtype) return value;
  if (dtype === "float32" && value.dtype === "bfloat16")
    return { dtype, shape: value.shape, data: widenBfloat16(value.data as Uint16Array) };
  if (dtype === "float32" && value.dtype === "float16")
    return { dtype, shape: value.shape, data: widenFloat16(value.data as Uint16Array) };
  if (value.dtype === "float32") return fromNumbers(dtype, value.shape, value.data as Float32Array);
  return fromNumbers(dtype, value.shape, toNumbers(value));
}

/** A bfloat16 is the upper half of a float32. */
function widenBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16;
  return new Float32Array(bits.buffer);
}

let float16Values: Float32Array | undefined;

function widenFloat16(halves: Uint16Array): Float32Array {
  float16Values ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => fromFloat16Bits(bits));
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = float16Values[halves[i] as number] as number;
  return values;
}
