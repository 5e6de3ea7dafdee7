/** Values that stay between runs: parameters (trained), buffers (kept: statistics, averages) and optimizer state. */

import { ShapeError, TsumikiError } from "../errors.js";
import { formatShape, sameShape } from "./dim.js";
import type { DType } from "./dtype.js";
import { allocate, checkArray, encode, isFloat } from "./dtype.js";
import { elementCount, type HostArray } from "./host-array.js";
import { leafOp } from "./op.js";
import { type NamedRandom, namedRandom } from "./random.js";
import { makeNode, Tensor } from "./tensor.js";
import { currentTrace } from "./trace.js";

/** Makes the first value of a variable, in float32 for every float. `random` depends on the seed and the variable's path alone. */
export type Initializer = (shape: readonly number[], random: NamedRandom) => Float32Array;

/** Whoever holds the newest value of a variable, e.g. an engine after it has run an update. */
export interface VariableHome {
  read(): Promise<HostArray>;
  /** Set when the value lies in a file, as raw little-endian elements: programs can use it from there. */
  readonly file?: FileSlice;
}

export interface FileSlice {
  readonly path: string;
  readonly byteOffset: number;
  readonly byteLength: number;
  /** What the elements are there, where that is narrower than what they are read as: float16 or bfloat16 for float32. */
  readonly dtype?: DType;
}

export interface VariableOptions {
  readonly dtype?: DType;
  /** Default: zeros. */
  readonly initializer?: Initializer;
  /** Used in errors and file names until a module gives the variable its path. */
  readonly name?: string;
}

export const variableOp = leafOp("variable");

export class Variable extends Tensor {
  declare readonly shape: readonly number[];
  /** Property path from the root module, e.g. `layers.3.selfAttn.qProj.weight`. */
  path: string | undefined;
  /** Grows with every new value; programs that hold a copy compare it. */
  version = 0;
  readonly #initializer: Initializer | undefined;
  #seed = 0;
  #value: HostArray | undefined;
  #home: VariableHome | undefined;

  constructor(shape: readonly number[], options: VariableOptions = {}) {
    for (const size of shape)
      if (!Number.isInteger(size) || size < 0)
        throw new ShapeError(`A variable needs sizes that are whole numbers, but ${formatShape(shape)} was given.`);
    const node = makeNode(variableOp, [], {}, [], "");
    super(node, 0, options.dtype ?? "float32", [...shape]);
    (node.outputs as Tensor[]).push(this);
    this.#initializer = options.initializer;
    this.path = options.name;
  }

  override describe(): string {
    return `${this.path ?? "variable"} ${this.dtype}${formatShape(this.shape)}`;
  }

  /** Records, while tracing, what this variable becomes after the run. Reads in the same run see the old value. */
  assign(value: Tensor): void {
    const trace = currentTrace();
    if (!trace)
      throw new TsumikiError(
        "TRACE",
        `${this.describe()}: assign() records an update inside a compiled function. Outside, use write().`,
      );
    if (trace.updates.has(this)) throw new TsumikiError("STATE", `${this.describe()} was assigned twice in one program.`);
    if (value.dtype !== this.dtype || !sameShape(value.shape, this.shape))
      throw new ShapeError(`${this.describe()} cannot become ${value.describe()}: the shape and the dtype of a variable stay.`);
    trace.updates.set(this, value);
  }

  /** Who holds the newest value, when it is not in host memory. */
  get home(): VariableHome | undefined {
    return this.#home;
  }

  /** Chooses the seed of the initial value. Without effect once the variable has a value. */
  seedInitialValue(seed: number): void {
    this.#seed = seed;
  }

  /** Where the current value lies in a file, if it does. */
  get file(): FileSlice | undefined {
    return this.#home?.file;
  }

  get hasValue(): boolean {
    return this.#value !== undefined || this.#home !== undefined;
  }

  /** The current value, wherever it is. A copy: writing into it changes nothing. */
  async read(): Promise<HostArray> {
    if (this.#home) return this.#home.read();
    const value = this.hostValue();
    return { ...value, data: value.data.slice() };
  }

  /** The value while it is in host memory (no copy; not to be written into); made by the initializer when there is none yet. */
  hostValue(): HostArray {
    if (this.#home) throw new TsumikiError("STATE", `${this.describe()} is held by an engine: use read().`);
    this.#value ??= this.#initialValue();
    return this.#value;
  }

  /**
   * Replaces the value. Runs that begin from now on see it, also those that were asked for before and still wait for their turn. One
   * that is under way has read the older value; what it assigns to this variable is dropped, so that a write is never lost.
   */
  write(value: HostArray): void {
    if (value.dtype !== this.dtype || !sameShape(value.shape, this.shape))
      throw new ShapeError(`${this.describe()} cannot take ${value.dtype}${formatShape(value.shape)}.`);
    checkArray(value.dtype, value.data, this.describe());
    if (value.data.length !== elementCount(this.shape))
      throw new ShapeError(`${this.describe()} needs ${elementCount(this.shape)} elements, but ${value.data.length} were given.`);
    this.#value = { dtype: value.dtype, shape: [...value.shape], data: value.data.slice() } as HostArray;
    this.#home = undefined;
    this.version++;
  }

  /** Another place holds the newest value from now on: an engine that has computed it, a file that was opened. */
  moveTo(home: VariableHome): void {
    this.#home = home;
    this.#value = undefined;
    this.version++;
  }

  /** The same value is kept elsewhere from now on: with an engine, or in host memory again. Its version stays. */
  relocate(to: VariableHome | HostArray): void {
    const inMemory = "data" in to;
    this.#home = inMemory ? undefined : to;
    this.#value = inMemory ? to : undefined;
  }

  #initialValue(): HostArray {
    const drawn = this.#initializer?.(this.shape, namedRandom(this.#seed, this.path ?? ""));
    const data = drawn
      ? isFloat(this.dtype) && drawn instanceof Float32Array
        ? encode(this.dtype, drawn)
        : drawn
      : allocate(this.dtype, elementCount(this.shape));
    checkArray(this.dtype, data, this.describe());
    if (data.length !== elementCount(this.shape))
      throw new ShapeError(
        `The initializer of ${this.describe()} gave ${data.length} elements, but ${elementCount(this.shape)} are needed.`,
      );
    return { dtype: this.dtype, shape: this.shape, data } as HostArray;
  }
}

/** A variable that an optimizer trains, unless it is frozen. */
export class Parameter extends Variable {
  trainable = true;
}
