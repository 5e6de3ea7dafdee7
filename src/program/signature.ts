/** What a compiled function is fed with: `{ ids: int32("batch", "seq"), learningRate: float32() }`. */

import { ArgumentError, DTypeError, TsumikiError } from "../errors.js";
import { type Atom, addDims, asAtom, bindDim, type Dim, formatShape, isStatic, type Shape, symbol } from "../graph/dim.js";
import { checkArray, type DType, type TypedArray } from "../graph/dtype.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { fromNested } from "../graph/leaves.js";
import { DeviceValue } from "./device-value.js";

/** A size: a number, a name shared within one signature, or a sum of those (`"past + seq"`). */
export type SizeSpec = number | string;

export interface InputSpec<D extends DType = DType, Sizes extends readonly SizeSpec[] = readonly SizeSpec[]> {
  readonly dtype: D;
  readonly sizes: Sizes;
}

const specOf =
  <D extends DType>(dtype: D) =>
  <const Sizes extends readonly SizeSpec[]>(...sizes: Sizes): InputSpec<D, Sizes> => ({ dtype, sizes });

export const float32 = specOf("float32");
export const float16 = specOf("float16");
export const float64 = specOf("float64");
export const int64 = specOf("int64");
export const int32 = specOf("int32");
export const uint8 = specOf("uint8");
export const bool = specOf("bool");

export type Signature = Readonly<Record<string, InputSpec>>;

export type NestedNumbers = readonly number[] | readonly NestedNumbers[];

/** Scalars may be plain numbers; arrays may be nested lists of numbers, or results that another program has kept. */
export type Feed<S> =
  S extends InputSpec<infer D, infer Sizes>
    ? HostArray<D> | DeviceValue | (Sizes extends readonly [] ? number : NestedNumbers)
    : never;

export type Feeds<S extends Signature> = { readonly [K in keyof S]: Feed<S[K]> };

/** The inputs of a signature as shapes; one name is one symbol throughout. */
export function symbolicShapes(signature: Signature): ReadonlyMap<string, Shape> {
  const symbols = new Map<string, Dim>();
  const named = (name: string): Dim => {
    if (!/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name))
      throw new ArgumentError(`'${name}' is not a name for a size: use letters, digits and _, or a sum such as "past + seq".`);
    const known = symbols.get(name) ?? symbol(name);
    symbols.set(name, known);
    return known;
  };
  const part = (text: string): Dim => (/^\d+$/.test(text) ? Number(text) : named(text));
  const dim = (size: SizeSpec): Dim => {
    if (typeof size === "string") return addDims(...size.split("+").map((text) => part(text.trim())));
    if (!Number.isInteger(size) || size < 0) throw new ArgumentError(`A size is a whole number, but ${size} was given.`);
    return size;
  };
  return new Map(Object.entries(signature).map(([name, spec]) => [name, spec.sizes.map(dim)]));
}

/** Copies of the feeds as arrays of the signature's dtypes; shapes are not checked yet. */
export function toArrays<S extends Signature>(signature: S, feeds: Feeds<S>): Map<string, HostArray | DeviceValue> {
  const unknown = Object.keys(feeds).filter((name) => !Object.hasOwn(signature, name));
  if (unknown.length)
    throw new TsumikiError(
      "FEED",
      `The program has no input called ${unknown.join(", ")}. Its inputs: ${Object.keys(signature).join(", ") || "none"}.`,
    );
  return new Map(
    Object.entries(signature).map(([name, spec]) => {
      const feed = (feeds as Readonly<Record<string, GivenFeed>>)[name];
      return [name, toArray(name, spec, feed)];
    }),
  );
}

type GivenFeed = HostArray | DeviceValue | NestedNumbers | number | undefined;

function toArray(name: string, spec: InputSpec, feed: GivenFeed): HostArray | DeviceValue {
  if (feed === undefined || feed === null)
    throw new TsumikiError("FEED", `The input '${name}' (${describeSpec(spec)}) was not fed.`);
  if (typeof feed === "number") return nestedArray(name, spec, feed);
  if (isNested(feed)) return nestedArray(name, spec, feed);
  const array = feed as HostArray;
  if (typeof feed !== "object" || ArrayBuffer.isView(feed) || !Array.isArray(array.shape))
    throw new TsumikiError(
      "FEED",
      `The input '${name}' is ${describeSpec(spec)}, but ${describeValue(feed)} was fed. Give { dtype, shape, data }, ` +
        "nested lists of numbers, a number for a scalar, or what another program has kept.",
    );
  if (array.dtype !== spec.dtype)
    throw new DTypeError(`The input '${name}' is ${describeSpec(spec)}, but ${array.dtype}${formatShape(array.shape)} was fed.`);
  if (feed instanceof DeviceValue) return feed;
  checkArray(array.dtype, array.data as TypedArray, `The input '${name}'`);
  if (array.data.length !== elementCount(array.shape))
    throw new TsumikiError(
      "FEED",
      `The input '${name}' says shape ${formatShape(array.shape)}, but holds ${array.data.length} elements.`,
    );
  return { dtype: array.dtype, shape: [...array.shape], data: array.data.slice() } as HostArray;
}

const isNested = (feed: GivenFeed): feed is NestedNumbers => Array.isArray(feed);

function nestedArray(name: string, spec: InputSpec, rows: NestedNumbers | number): HostArray {
  try {
    return fromNested(rows, spec.dtype);
  } catch (cause) {
    if (cause instanceof DTypeError)
      throw new DTypeError(`The input '${name}' (${describeSpec(spec)}): ${cause.message}`, { cause });
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new TsumikiError("FEED", `The input '${name}' (${describeSpec(spec)}): ${cause.message}`, { cause });
  }
}

const describeValue = (value: unknown): string =>
  typeof value === "object" && value !== null ? `a ${value.constructor?.name ?? "plain"} object` : `a ${typeof value}`;

const describeSpec = (spec: InputSpec): string => `${spec.dtype}${formatShape(spec.sizes.map((size) => size as Dim & string))}`;

/** Finds the size of every symbol from the shapes that were fed, and checks everything else against it. */
export function bindSizes(
  shapes: ReadonlyMap<string, Shape>,
  arrays: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Map<Atom, number> {
  const bindings = new Map<Atom, number>();
  const origin = new Map<Atom, string>();
  for (const [name, shape] of shapes) {
    const given = arrays.get(name)?.shape ?? [];
    if (given.length !== shape.length)
      throw new TsumikiError("FEED", `The input '${name}' has shape ${formatShape(shape)}, but ${formatShape(given)} was fed.`);
    for (const [axis, dim] of shape.entries()) {
      const atom = asAtom(dim);
      if (atom && !bindings.has(atom)) {
        bindings.set(atom, given[axis] as number);
        origin.set(atom, name);
      }
    }
  }
  for (const [name, shape] of shapes) {
    const given = arrays.get(name)?.shape ?? [];
    for (const [axis, dim] of shape.entries()) {
      const expected = bindDim(dim, bindings);
      if (expected === given[axis]) continue;
      const atom = asAtom(dim);
      const because = isStatic(dim) ? "" : ` (${String(dim)} = ${expected}${atom ? `, from '${origin.get(atom)}'` : ""})`;
      throw new TsumikiError(
        "FEED",
        `The input '${name}' has shape ${formatShape(shape)}, but ${formatShape(given)} was fed: axis ${axis} should be ${expected}${because}.`,
      );
    }
  }
  return bindings;
}
