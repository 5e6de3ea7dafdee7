/** Tensor methods: the operator functions with the tensor as first argument, for code that reads better in a chain. */

import type { Dim, Shape } from "./dim.js";
import type { DType } from "./dtype.js";
import {
  add,
  cos,
  div,
  exp,
  log,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  sigmoid,
  sin,
  sqrt,
  square,
  sub,
  tanh,
} from "./ops/arithmetic.js";
import { broadcastTo } from "./ops/broadcasting.js";
import { cast } from "./ops/cast.js";
import type { TensorLike } from "./ops/elementwise.js";
import { type MatmulOptions, matmul } from "./ops/matmul.js";
import { max, mean, min, type ReduceOptions, sum } from "./ops/reduce.js";
import { reshape, transpose } from "./ops/shape.js";
import { slice } from "./ops/shape-slice.js";
import { softmax } from "./ops/softmax.js";
import { Tensor } from "./tensor.js";

/** Each is the function of the same name in `tsumiki/graph`. */
export interface TensorMethods {
  add(other: TensorLike): Tensor;
  sub(other: TensorLike): Tensor;
  mul(other: TensorLike): Tensor;
  div(other: TensorLike): Tensor;
  pow(exponent: TensorLike): Tensor;
  maximum(other: TensorLike): Tensor;
  minimum(other: TensorLike): Tensor;
  neg(): Tensor;
  square(): Tensor;
  sqrt(): Tensor;
  exp(): Tensor;
  log(): Tensor;
  sin(): Tensor;
  cos(): Tensor;
  tanh(): Tensor;
  sigmoid(): Tensor;
  matmul(other: Tensor, options?: MatmulOptions): Tensor;
  sum(options?: ReduceOptions): Tensor;
  mean(options?: ReduceOptions): Tensor;
  max(options?: ReduceOptions): Tensor;
  min(options?: ReduceOptions): Tensor;
  softmax(axis?: number): Tensor;
  reshape(shape: readonly Dim[]): Tensor;
  transpose(permutation?: readonly number[]): Tensor;
  slice(axis: number, start: Dim, end?: Dim, step?: number): Tensor;
  broadcastTo(shape: Shape): Tensor;
  cast(dtype: DType): Tensor;
}

declare module "./tensor.js" {
  interface Tensor extends TensorMethods {}
}

const functions = {
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  neg,
  square,
  sqrt,
  exp,
  log,
  sin,
  cos,
  tanh,
  sigmoid,
  matmul,
  sum,
  mean,
  max,
  min,
  softmax,
  reshape,
  transpose,
  slice,
  broadcastTo,
  cast,
} satisfies { [K in keyof TensorMethods]: (self: Tensor, ...rest: Parameters<TensorMethods[K]>) => Tensor };

for (const [name, fn] of Object.entries(functions) as [string, (self: Tensor, ...rest: unknown[]) => Tensor][])
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...rest: unknown[]) {
      return fn(this, ...rest);
    },
  });
