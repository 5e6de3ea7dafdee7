/** Helpers for the `reference` faces: plain loops over row-major float64 arrays, written to be read, not to be fast. */

import type { ReferenceArray } from "../op.js";

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Steps between neighbours of each axis in a row-major array. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] as number) * (shape[axis + 1] as number);
  return strides;
}

/** The position of `index` in a row-major array. */
export const offsetOf = (index: readonly number[], strides: readonly number[]): number =>
  index.reduce((offset, i, axis) => offset + i * (strides[axis] as number), 0);

/** Calls `visit` with every index of a shape in row-major order. The array is reused: copy it to keep it. */
export function forEachIndex(shape: readonly number[], visit: (index: readonly number[], position: number) => void): void {
  const index = new Array<number>(shape.length).fill(0);
  const count = sizeOf(shape);
  for (let position = 0; position < count; position++) {
    visit(index, position);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      index[axis] = 0;
    }
  }
}

/** An array whose element at each index is `value(index)`. */
export function generate(shape: readonly number[], value: (index: readonly number[]) => number): ReferenceArray {
  const data = new Float64Array(sizeOf(shape));
  forEachIndex(shape, (index, position) => {
    data[position] = value(index);
  });
  return { shape, data };
}

/** Reads with broadcasting: axes of size 1 (and missing leading ones) answer to every index. */
export function reader(array: ReferenceArray): (index: readonly number[]) => number {
  const strides = stridesOf(array.shape).map((stride, axis) => (array.shape[axis] === 1 ? 0 : stride));
  return (index) => {
    const missing = index.length - strides.length;
    let offset = 0;
    for (let axis = 0; axis < strides.length; axis++) offset += (index[axis + missing] as number) * (strides[axis] as number);
    return array.data[offset] as number;
  };
}

export const map = (array: ReferenceArray, fn: (value: number) => number): ReferenceArray => ({
  shape: array.shape,
  data: array.data.map(fn),
});

/** Elementwise over broadcast operands; `shape` is the shape of the result. */
export function zip(
  shape: readonly number[],
  arrays: readonly ReferenceArray[],
  fn: (...values: number[]) => number,
): ReferenceArray {
  const readers = arrays.map(reader);
  return generate(shape, (index) => fn(...readers.map((read) => read(index))));
}
