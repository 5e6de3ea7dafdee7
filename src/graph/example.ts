/**
 * Examples of an operator: which operands it takes, in letters. The generated tests bind the letters to several sizes
 * (1 and, where allowed, 0 among them) and also keep them as symbols.
 */

import type { Dim } from "./dim.js";
import type { DType } from "./dtype.js";

/** A size: a literal, or a letter that the tests bind. */
export type ExampleSize = number | string;

export interface ExampleOperand {
  readonly dtype: DType;
  readonly sizes: readonly ExampleSize[];
  /** Values are drawn uniformly from [low, high); integers from low up to, not including, high. */
  readonly low: number;
  readonly high: ExampleSize;
  /** Finite differences are taken through this operand (floats only). */
  readonly differentiable: boolean;
}

export interface OpExample<A> {
  readonly inputs: readonly ExampleOperand[];
  /** Needed exactly when the operator has attributes. */
  readonly attributes?: A;
  /** Whether letters may be bound to 0. Default true; false where a mean or a maximum of nothing has no meaning. */
  readonly empty?: boolean;
  /** The smallest size that letters may be bound to, e.g. a kernel's width. Default 0 or, with `empty: false`, 1. */
  readonly atLeast?: number;
  /** Absolute and relative tolerance against the reference in float32. Default 1e-5. */
  readonly tolerance?: number;
}

export interface OperandRange {
  readonly low?: number;
  readonly high?: number;
}

export interface ExampleMaker {
  /** float32 values, by default from [-2, 2). */
  float(sizes: readonly ExampleSize[], range?: OperandRange): ExampleOperand;
  /** int64 values from [low, high); `high` may be a letter: indices into a dimension. */
  integer(sizes: readonly ExampleSize[], range: { readonly low?: number; readonly high: ExampleSize }): ExampleOperand;
  bool(sizes: readonly ExampleSize[]): ExampleOperand;
  /** The dimension that a letter stands for in this run, for attributes: a number, or a symbol. */
  dim(letter: string): Dim;
}

/** A maker whose letters become the given dimensions. */
export function exampleMaker(dims: (letter: string) => Dim): ExampleMaker {
  return {
    float: (sizes, { low = -2, high = 2 } = {}) => ({ dtype: "float32", sizes, low, high, differentiable: true }),
    integer: (sizes, { low = 0, high }) => ({ dtype: "int64", sizes, low, high, differentiable: false }),
    bool: (sizes) => ({ dtype: "bool", sizes, low: 0, high: 2, differentiable: false }),
    dim: dims,
  };
}
