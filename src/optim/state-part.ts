/** Parts of a vector as variables of their own: what a vector holds for many parameters is saved under the name of each. */

import { ShapeError } from "../errors.js";
import { sameShape } from "../graph/dim.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { Variable, type VariableHome } from "../graph/variable.js";

/** Some consecutive elements of a vector in a shape of their own. What is written goes into the vector, what is read comes from it. */
export class StatePart extends Variable {
  readonly #vector: Variable;
  readonly #start: number;

  constructor(vector: Variable, start: number, shape: readonly number[], name: string) {
    super(shape, { dtype: vector.dtype, name });
    this.#vector = vector;
    this.#start = start;
  }

  override get hasValue(): boolean {
    return this.#vector.hasValue;
  }

  override async read(): Promise<HostArray> {
    const { home } = this.#vector;
    const patch = home instanceof PatchedVector ? home.patches.get(this.#start) : undefined;
    if (patch) return patch.read();
    const { data } = await wholeOf(this.#vector);
    const end = this.#start + elementCount(this.shape);
    return { dtype: this.dtype, shape: this.shape, data: data.slice(this.#start, end) } as HostArray;
  }

  override write(value: HostArray): void {
    if (value.dtype !== this.dtype || !sameShape(value.shape, this.shape) || value.data.length !== elementCount(this.shape))
      throw new ShapeError(`${this.describe()} cannot take ${value.dtype}[${value.shape.join(", ")}].`);
    const copy = { ...value, data: value.data.slice() } as HostArray;
    this.moveTo({ read: async () => ({ ...copy, data: copy.data.slice() }) as HostArray });
  }

  override moveTo(home: VariableHome): void {
    const vector = this.#vector;
    const patched = vector.home instanceof PatchedVector ? vector.home : new PatchedVector(vector.home ?? vector.hostValue());
    patched.patches.set(this.#start, home);
    vector.moveTo(patched);
    this.version++;
  }
}

/** A vector some of whose elements have been replaced; put together when it is read. */
class PatchedVector implements VariableHome {
  /** By the place of the first element that each replaces. */
  readonly patches = new Map<number, VariableHome>();
  readonly #before: VariableHome | HostArray;

  constructor(before: VariableHome | HostArray) {
    this.#before = before;
  }

  async read(): Promise<HostArray> {
    const before = "data" in this.#before ? this.#before : await this.#before.read();
    const data = before.data.slice();
    for (const [start, home] of this.patches) data.set((await home.read()).data as never, start);
    return { ...before, data } as HostArray;
  }
}

/** The vectors that were read last: their parts are read one after another when they are saved. */
const lastRead = new WeakMap<Variable, { readonly version: number; readonly value: WeakRef<Promise<HostArray>> }>();

function wholeOf(vector: Variable): Promise<HostArray> {
  const known = lastRead.get(vector);
  const value = known?.version === vector.version ? known.value.deref() : undefined;
  if (value) return value;
  const read = vector.read();
  lastRead.set(vector, { version: vector.version, value: new WeakRef(read) });
  return read;
}
