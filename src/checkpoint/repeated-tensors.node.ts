/** Tensors of a checkpoint that should only repeat others, and do not (Node). */

import { locateTensors, type PlacedTensors, readTensor } from "./tensor-files.node.js";
import type { MatchOptions } from "./variable-match.js";

/** The names of the tensors in a checkpoint that differ from what they should repeat. */
export async function differingRepeats(
  path: string,
  { repeats = new Map(), otherNames = () => [] }: MatchOptions,
): Promise<string[]> {
  if (repeats.size === 0) return [];
  const tensors = await locateTensors(path);
  const differing: string[] = [];
  for (const [name, repeated] of repeats) {
    const other = [repeated, ...otherNames(repeated)].find((candidate) => tensors.has(candidate));
    if (tensors.has(name) && other !== undefined && !(await areEqual(tensors, name, other))) differing.push(name);
  }
  return differing;
}

async function areEqual(tensors: PlacedTensors, a: string, b: string): Promise<boolean> {
  const [first, second] = [await readTensor(tensors, a), await readTensor(tensors, b)];
  const bytes = ({ data }: { readonly data: ArrayBufferView }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return first.dtype === second.dtype && first.shape.join() === second.shape.join() && bytes(first).equals(bytes(second));
}
