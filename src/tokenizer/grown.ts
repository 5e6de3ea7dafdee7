type Growable = Int32Array | Float64Array | Uint16Array | Uint8Array;

/** A copy of `array` with twice the room; the new half is `fill`. */
export function grown<T extends Growable>(array: T, fill = 0): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  if (fill !== 0) larger.fill(fill, array.length); // pages that nobody writes to take no memory
  return larger;
}
