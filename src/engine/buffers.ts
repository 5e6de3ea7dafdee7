/** What engines do with the data and the handles that they are given. */

import { TsumikiError } from "../errors.js";
import { allocate, checkArray, type TypedArray } from "../graph/dtype.js";
import { type HostArray, hostArray } from "../graph/host-array.js";

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

export const notOwned = (): TsumikiError =>
  new TsumikiError(
    "RELEASED",
    "The buffer was released, or another engine made it: only the engine that made a buffer can use it.",
  );
