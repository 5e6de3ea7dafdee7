/** Data in the memory of JavaScript: what programs are fed with and what they return. */

import { ShapeError } from "../errors.js";
import { checkArray, checkNumber, type DType, type DTypeArrays, decode, encode, isInteger, type TypedArray } from "./dtype.js";

/** A dense row-major array. Programs return these; a caller may build one as a plain object literal too. */
export interface HostArray<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeArrays[D];
}

export const elementCount = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Wraps `data` (no copy) after checking that it has the type and the number of elements that `dtype` and `shape` ask for. */
export function hostArray<D extends DType>(dtype: D, shape: readonly number[], data: DTypeArrays[D]): HostArray<D> {
  checkArray(dtype, data as TypedArray, "A host array");
  if (data.length !== elementCount(shape))
    throw new ShapeError(
      `A host array of shape [${shape.join(", ")}] has ${elementCount(shape)} elements, but ${data.length} were given.`,
    );
  return { dtype, shape: [...shape], data };
}

/** The same from plain numbers. Throws a DTypeError for what an integer type cannot hold; floats round. */
export function fromNumbers<D extends DType>(dtype: D, shape: readonly number[], values: ArrayLike<number>): HostArray<D> {
  if (isInteger(dtype))
    for (let i = 0; i < values.length; i++) checkNumber(dtype, values[i] as number, "An element of a host array");
  return hostArray(dtype, shape, encode(dtype, values));
}

/** The elements as float64 numbers, whatever the dtype. */
export const toNumbers = (array: HostArray): Float64Array => decode(array.dtype, array.data);

/** What a program returns: an array with a few conveniences for reading it. */
export class ResultArray<D extends DType = DType> implements HostArray<D> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeArrays[D];

  constructor({ dtype, shape, data }: HostArray<D>) {
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  /** The only element, as a number. */
  item(): number {
    if (this.data.length !== 1)
      throw new ShapeError(`item() needs exactly one element, but the shape is [${this.shape.join(", ")}].`);
    return toNumbers(this)[0] as number;
  }

  /** All elements in row-major order, as numbers. */
  toNumbers(): Float64Array {
    return toNumbers(this);
  }
}
