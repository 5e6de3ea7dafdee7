/** What the `onnx` face of an operator writes with. The writer in `onnx/` implements it. */

import type { Shape } from "./dim.js";
import type { DType } from "./dtype.js";
import type { Tensor } from "./tensor.js";

declare const onnxValue: unique symbol;

/** The name of a value in the ONNX graph that is being written. */
export type OnnxValue = string & { readonly [onnxValue]: true };

/** A body for `Scan`, `Loop` and `If`: its inputs in order and the values it returns. Outer values may be used inside. */
export interface OnnxSubgraph {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Numbers are integers; a float says so, because ONNX tells them apart. */
export type OnnxAttribute =
  | number
  | readonly number[]
  | string
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly body: OnnxSubgraph };

export type OnnxAttributes = Readonly<Record<string, OnnxAttribute>>;

export interface OnnxNodeOptions {
  /** Operator set; default: standard ONNX. */
  readonly domain?: string;
}

/** `node("Add", [x, y])` appends a node and returns its output. An optional input that is left out is `undefined`. */
export interface OnnxBuilder {
  (type: string, inputs: readonly (OnnxValue | undefined)[], attributes?: OnnxAttributes, options?: OnnxNodeOptions): OnnxValue;
  /** The same for several outputs. */
  many(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes?: OnnxAttributes,
    options?: OnnxNodeOptions,
  ): readonly OnnxValue[];
  constant(dtype: DType, shape: readonly number[], values: ArrayLike<number>): OnnxValue;
  /** A rank-0 constant. */
  scalar(dtype: DType, value: number): OnnxValue;
  /** An int64 vector: axes, sizes, steps. */
  int64s(values: readonly number[]): OnnxValue;
  /** An int64 vector of sizes, computed while the program runs where they are symbolic. */
  dims(shape: Shape): OnnxValue;
}
