/** Element types, and how each is held in a JavaScript typed array. */

import { DTypeError } from "../errors.js";

export type FloatDType = "float64" | "float32" | "float16" | "bfloat16";
export type IntegerDType = "int64" | "int32" | "int16" | "int8" | "uint64" | "uint32" | "uint16" | "uint8";
export type DType = FloatDType | IntegerDType | "bool";

/** float16 and bfloat16 are held as their 16 bits, bool as 0 or 1. */
export type DTypeArrays = {
  float64: Float64Array;
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int16: Int16Array;
  int8: Int8Array;
  uint64: BigUint64Array;
  uint32: Uint32Array;
  uint16: Uint16Array;
  uint8: Uint8Array;
  bool: Uint8Array;
};

export type TypedArray = DTypeArrays[DType];

interface DTypeInfo {
  /** Bytes of one element. */
  readonly bytes: number;
  readonly array: {
    new (length: number): TypedArray;
    new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray;
  };
  /** `TensorProto.DataType` in the ONNX schema. */
  readonly onnx: number;
}

const info: Record<DType, DTypeInfo> = {
  float32: { bytes: 4, array: Float32Array, onnx: 1 },
  uint8: { bytes: 1, array: Uint8Array, onnx: 2 },
  int8: { bytes: 1, array: Int8Array, onnx: 3 },
  uint16: { bytes: 2, array: Uint16Array, onnx: 4 },
  int16: { bytes: 2, array: Int16Array, onnx: 5 },
  int32: { bytes: 4, array: Int32Array, onnx: 6 },
  int64: { bytes: 8, array: BigInt64Array, onnx: 7 },
  bool: { bytes: 1, array: Uint8Array, onnx: 9 },
  float16: { bytes: 2, array: Uint16Array, onnx: 10 },
  float64: { bytes: 8, array: Float64Array, onnx: 11 },
  uint32: { bytes: 4, array: Uint32Array, onnx: 12 },
  uint64: { bytes: 8, array: BigUint64Array, onnx: 13 },
  bfloat16: { bytes: 2, array: Uint16Array, onnx: 16 },
};

export const dtypes = Object.keys(info) as DType[];

export const isDType = (name: string): name is DType => Object.hasOwn(info, name);

export const isFloat = (dtype: DType): dtype is FloatDType =>
  dtype === "float32" || dtype === "float64" || dtype === "float16" || dtype === "bfloat16";

export const isInteger = (dtype: DType): dtype is IntegerDType => !isFloat(dtype) && dtype !== "bool";

export const bytesPerElement = (dtype: DType): number => info[dtype].bytes;

/** The number of this element type in `TensorProto.DataType`. */
export const onnxDType = (dtype: DType): number => info[dtype].onnx;

/** A zeroed array of `length` elements. */
export function allocate<D extends DType>(dtype: D, length: number): DTypeArrays[D] {
  return new info[dtype].array(length) as DTypeArrays[D];
}

/** The bytes of `buffer` from `byteOffset` seen as `length` elements; no copy. `byteOffset` must be a multiple of the element size. */
export function view<D extends DType>(dtype: D, buffer: ArrayBufferLike, byteOffset: number, length: number): DTypeArrays[D] {
  return new info[dtype].array(buffer, byteOffset, length) as DTypeArrays[D];
}

const scratch = new DataView(new ArrayBuffer(8));

/** Rounds to the nearest bfloat16 (ties to even) and returns its bits. */
export function toBfloat16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  scratch.setFloat32(0, value);
  let bits = scratch.getUint32(0);
  // What float32 has rounded to the middle between two bfloat16 is put back on the side on which it was.
  const stored = scratch.getFloat32(0);
  if ((bits & 0xffff) === 0x8000 && stored !== value) bits += Math.abs(value) > Math.abs(stored) ? 1 : -1;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBfloat16Bits(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Rounds to the nearest float16 (IEEE 754 binary16, ties to even) and returns its bits. */
export function toFloat16Bits(value: number): number {
  single[0] = value;
  const bits = singleBits[0] as number;
  const magnitude = bits & 0x7fffffff;
  // A float32 between 2^-14 and 2^16, as nearly all weights are: 13 bits go, and a carry out of them is right in the exponent too.
  if (single[0] === value && magnitude >= 0x38800000 && magnitude < 0x47800000) {
    const rebiased = magnitude - 0x38000000; // exponents count from 15 instead of 127
    return ((bits >>> 16) & 0x8000) | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  return roundToFloat16Bits(value);
}

function roundToFloat16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below 2^-14 numbers are subnormal: multiples of 2^-24.
  const exponent = magnitude < 2 ** -14 ? -14 : Math.floor(Math.log2(magnitude));
  const unit = 2 ** (exponent - 10);
  const steps = roundHalfToEven(magnitude / unit); // 1024..2048 for normal numbers; 2048 carries into the exponent
  return sign | (magnitude < 2 ** -14 ? steps : ((exponent + 15 - 1) << 10) + steps);
}

export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** What a number becomes when it is stored as `dtype` (the reference engine computes in float64). */
export function roundTo(dtype: DType, value: number): number {
  switch (dtype) {
    case "float64":
      return value;
    case "float32":
      return Math.fround(value);
    case "float16":
      return fromFloat16Bits(toFloat16Bits(value));
    case "bfloat16":
      return fromBfloat16Bits(toBfloat16Bits(value));
    case "bool":
      return value === 0 ? 0 : 1;
    default:
      return Math.trunc(value);
  }
}

const integerBits: Readonly<Record<IntegerDType, number>> = {
  int64: 64,
  int32: 32,
  int16: 16,
  int8: 8,
  uint64: 64,
  uint32: 32,
  uint16: 16,
  uint8: 8,
};

/** The smallest and the largest number that an integer type holds (those of 64 bits rounded to what a number can be). */
export function integerRange(dtype: IntegerDType): readonly [number, number] {
  const bits = integerBits[dtype];
  return dtype.startsWith("u") ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
}

/**
 * Throws unless a number can be stored as `dtype`, up to the rounding of a float: a fraction as an integer, 300 as uint8 or 10⁶ as
 * float16 would silently become another number.
 */
export function checkNumber(dtype: DType, value: number, what = "A number"): void {
  const problem = numberProblem(dtype, value);
  if (problem !== undefined) throw new DTypeError(`${what} (${value}) cannot be stored as ${dtype}: ${problem}.`);
}

function numberProblem(dtype: DType, value: number): string | undefined {
  if (dtype === "bool") return value === 0 || value === 1 ? undefined : "a bool is true or false (1 or 0)";
  if (isFloat(dtype))
    return Number.isFinite(value) && !Number.isFinite(roundTo(dtype, value))
      ? "it is too large and would become infinite"
      : undefined;
  if (!Number.isInteger(value)) return "an integer has no fraction; cast the tensor to a float, or round the number";
  const [least, most] = integerRange(dtype);
  return value < least || value > most ? `the type holds ${least} to ${most}` : undefined;
}

const leastBig = -(2n ** 63n);

/** Encodes numbers as `dtype`; what an integer type cannot hold becomes another number. Integers outside ±2^53 cannot pass through numbers. */
export function encode<D extends DType>(dtype: D, values: ArrayLike<number>): DTypeArrays[D] {
  const out = allocate(dtype as DType, values.length);
  if (dtype === "int64" || dtype === "uint64") {
    const big = out as BigInt64Array;
    for (let i = 0; i < values.length; i++) {
      const value = Math.trunc(values[i] as number);
      big[i] = Number.isFinite(value) ? BigInt(value) : leastBig; // as processors do
    }
  } else {
    const bits = dtype === "float16" ? toFloat16Bits : dtype === "bfloat16" ? toBfloat16Bits : undefined;
    const numbers = out as Float64Array;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      numbers[i] = bits ? bits(value) : dtype === "bool" ? Number(value !== 0) : value;
    }
  }
  return out as DTypeArrays[D];
}

/** Decodes an array of `dtype` to float64 numbers. */
export function decode(dtype: DType, data: TypedArray): Float64Array {
  const out = new Float64Array(data.length);
  const value = dtype === "float16" ? fromFloat16Bits : dtype === "bfloat16" ? fromBfloat16Bits : Number;
  for (let i = 0; i < data.length; i++) out[i] = (value as (v: number | bigint) => number)(data[i] as number | bigint);
  return out;
}

/** Throws unless `data` is the kind of array that holds `dtype`. */
export function checkArray(dtype: DType, data: TypedArray, what: string): void {
  if (!(data instanceof info[dtype].array))
    throw new DTypeError(
      `${what} is ${dtype}, which is held in a ${info[dtype].array.name}, but a ${data.constructor.name} was given.`,
    );
}
