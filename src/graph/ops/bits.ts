/** Operations on the bits of integers, element by element with broadcasting. No gradient flows. */

import { ArgumentError } from "../../errors.js";
import { allocate, type IntegerDType, isInteger } from "../dtype.js";
import type { HostArray } from "../host-array.js";
import { constant } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { div, mod, mul, sub } from "./arithmetic.js";
import { defineBinary, type TensorLike } from "./elementwise.js";

const defineBits = (
  name: string,
  onnx: string,
  value: (a: bigint, b: bigint) => bigint,
): ((a: TensorLike, b: TensorLike) => Tensor) =>
  defineBinary({
    name,
    accepts: "integer",
    gradient: "nonDifferentiable",
    onnx,
    value: (a, b) => Number(value(BigInt(a), BigInt(b))),
    operand: (make, sizes) => make.integer(sizes, { low: -9, high: 9 }),
  });

/** The bits that both have. */
export const bitwiseAnd = defineBits("bitwiseAnd", "BitwiseAnd", (a, b) => a & b);

/** The bits that at least one has. */
export const bitwiseOr = defineBits("bitwiseOr", "BitwiseOr", (a, b) => a | b);

/** The bits that exactly one has. */
export const bitwiseXor = defineBits("bitwiseXor", "BitwiseXor", (a, b) => a ^ b);

/** Every bit turned round: −1 − x for signed integers. */
export function bitwiseNot(x: Tensor): Tensor {
  if (!isInteger(x.dtype)) return bitwiseXor(x, x); // its error says what is wrong with x
  const all = allocate(x.dtype, 1);
  new Uint8Array(all.buffer).fill(0xff);
  return bitwiseXor(x, constant({ dtype: x.dtype, shape: [], data: all } as HostArray<IntegerDType> as HostArray));
}

function powerOfTwo(name: string, bits: number): number {
  if (!Number.isInteger(bits) || bits < 0 || bits > 62)
    throw new ArgumentError(`${name}: bits are moved by a whole number of places from 0 to 62, but ${bits} was given.`);
  return 2 ** bits;
}

/** x · 2^bits */
export const shiftLeft = (x: Tensor, bits: number): Tensor => mul(x, powerOfTwo("shiftLeft", bits));

/** ⌊x / 2^bits⌋: signed integers keep their sign. */
export function shiftRight(x: Tensor, bits: number): Tensor {
  const power = powerOfTwo("shiftRight", bits);
  // Division cuts towards zero, so what remains is taken off first.
  return div(sub(x, mod(x, power)), power);
}
