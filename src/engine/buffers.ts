/** What engines do with the data and the handles that they are given. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { allocate, checkArray, type TypedArray } from "../graph/dtype.js";
import { type HostArray, hostArray } from "../graph/host-array.js";
import type { EngineBuffer } from "./engine.js";

/** A typed array as its bytes, no copy. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** A copy in memory of its own, after checking that the data is what dtype and shape say. */
export function copyOf(array: HostArray): HostArray {
  checkArray(array.dtype, array.data, "The data of a buffer");
  const { dtype, shape, data } = hostArray(array.dtype, array.shape, array.data as TypedArray);
  const copy = allocate(dtype, data.length);
  bytesOf(copy).set(bytesOf(data));
  return { dtype, shape, data: copy } as HostArray;
}

/** Throws where a run would write to what it reads, except over inputs that its model may overwrite, or twice to one buffer. */
export function checkOutputs(
  inputs: ReadonlyMap<string, EngineBuffer>,
  outputs: ReadonlyMap<string, EngineBuffer | undefined>,
  overwrites: ReadonlyMap<string, string> = new Map(),
): void {
  const readers = new Map<EngineBuffer, string[]>();
  for (const [name, buffer] of inputs) readers.set(buffer, [...(readers.get(buffer) ?? []), name]);
  const written = new Set<EngineBuffer>();
  for (const [name, buffer] of outputs) {
    if (!buffer) continue;
    const mayBe = overwrites.get(name);
    if (written.has(buffer) || readers.get(buffer)?.some((input) => input !== mayBe))
      throw new ArgumentError(`The buffer of output '${name}' is an input of the same run, or another output.`);
    written.add(buffer);
  }
}

export const notOwned = (): TsumikiError =>
  new TsumikiError(
    "RELEASED",
    "The buffer was released, or another engine made it: only the engine that made a buffer can use it.",
  );
