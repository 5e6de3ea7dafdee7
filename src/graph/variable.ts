/** Values that stay between runs: parameters (trained), buffers (kept: statistics, averages) and optimizer state. */

import { ShapeError, TsumikiError } from "../errors.js";
import { formatShape, sameShape } from "./dim.js";
import type { DType } from "./dtype.js";
import { allocate, checkArray, encode, isFloat } from "./dtype.js";
import { elementCount, type HostArray } from "./host-array.js";
import { leafOp } from "./op.js";
import { type NamedRandom, namedRandom } from "./random.js";
import { makeNode, Tensor } from "./tensor.js";
import { currentTrace, type Trace } from "./trace.js";

/**
 * Makes the first value of a variable, in float32 for every float. `random` depends on the seed and the variable's path alone, where a
 * seed was given.
 */
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
  /** Whether the walk of a module has found it: only then can it be trained and saved with that module. */
  belongsToModule = false;
  #seed: number | undefined;
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

  /**
   * Records, while tracing, what this variable becomes after the run. Reads in the same run see the old value; `next()` sees the
   * new one.
   *
   * @throws TsumikiError STATE where it was assigned before in the same program, or where its next value has been read already
   */
  assign(value: Tensor): void {
    if (this.#trace("assign()").updates.has(this))
      throw new TsumikiError("STATE", `${this.describe()} was assigned twice in one program.`);
    this.update(() => value);
  }

  /**
   * Records a change on top of what was recorded before in the same program: `change` gets what the variable is about to become.
   * Statistics of a module that runs twice in a step use it.
   */
  update(change: (next: Tensor) => Tensor): void {
    const trace = this.#trace("update()");
    const value = change(trace.updates.get(this) ?? this);
    if (value.dtype !== this.dtype || !sameShape(value.shape, this.shape))
      throw new ShapeError(`${this.describe()} cannot become ${value.describe()}: the shape and the dtype of a variable stay.`);
    if (trace.nextRead.has(this))
      throw new TsumikiError(
        "STATE",
        `${this.describe()} is assigned after its next value was read in the same program: call next() behind the last update.`,
      );
    trace.updates.set(this, value);
  }

  /** Who holds the newest value, when it is not in host memory. */
  get home(): VariableHome | undefined {
    return this.#home;
  }

  /**
   * What this variable is about to become in the program that is being traced, such as a weight behind an optimizer's update; its
   * present value where the program does not change it. Call it behind the update: a later one is refused.
   */
  next(): Tensor {
    const trace = this.#trace("next()");
    trace.nextRead.add(this);
    return trace.updates.get(this) ?? this;
  }

  #trace(method: string): Trace {
    const trace = currentTrace();
    if (trace) return trace;
    throw new TsumikiError(
      "TRACE",
      `${this.describe()}: ${method} records or reads an update inside a compiled function. Outside, use write() and read().`,
    );
  }

  /** Chooses the seed of the initial value, which then depends on it and the path alone. Without effect once there is a value. */
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
    const drawn = this.#initializer?.(this.shape, this.#random());
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

  /** Without a seed, variables of one path are told apart by the order in which they get their values. */
  #random(): NamedRandom {
    const path = this.path ?? "";
    if (this.#seed !== undefined) return namedRandom(this.#seed, path);
    const earlier = unseeded.get(path) ?? 0;
    unseeded.set(path, earlier + 1);
    return earlier === 0 ? namedRandom(0, path) : namedRandom(0, path, earlier);
  }
}

/** How many variables of each path have drawn an initial value without a seed. */
const unseeded = new Map<string, number>();

/** A variable that an optimizer trains, unless it is frozen. */
export class Parameter extends Variable {
  trainable = true;
}
