/** Leaves of a graph: values that are given from outside (feeds, noise) or written into it (constants). */

import { ArgumentError } from "../errors.js";
import type { Dim, Shape } from "./dim.js";
import type { DType } from "./dtype.js";
import { checkNumber, encode } from "./dtype.js";
import { elementCount, type HostArray, toNumbers } from "./host-array.js";
import { leafOp } from "./op.js";
import { makeNode, type Tensor } from "./tensor.js";
import { currentScope, noiseName } from "./trace.js";

export const inputOp = leafOp("input");
export const constantOp = leafOp("constant");
export const noiseOp = leafOp("noise");

/** A value that a program is fed with. */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return makeNode(inputOp, [], { name }, [{ dtype, shape }], currentScope()).outputs[0] as Tensor;
}

type Nested = number | boolean | readonly Nested[];

/** A value written into the graph: a number, nested arrays of numbers, or a host array. Default dtype: float32. */
export function constant(value: Nested | HostArray, dtype: DType = "float32"): Tensor {
  const array = isHostArray(value) ? value : fromNested(value, dtype);
  return makeNode(constantOp, [], { value: array }, [array], currentScope()).outputs[0] as Tensor;
}

const isHostArray = (value: Nested | HostArray): value is HostArray => typeof value === "object" && "dtype" in value;

/** Nested arrays of numbers as a host array; all rows of one level must be equally long. */
export function fromNested(value: Nested, dtype: DType): HostArray {
  const shape: number[] = [];
  for (let level: Nested = value; Array.isArray(level); level = level[0] as Nested) shape.push(level.length);
  const flat: number[] = [];
  const visit = (part: Nested, depth: number): void => {
    if (Array.isArray(part) !== depth < shape.length) throw new ArgumentError("Nested arrays must be equally deep everywhere.");
    if (!Array.isArray(part)) flat.push(Number(part));
    else {
      if (part.length !== shape[depth])
        throw new ArgumentError(
          `Nested arrays must be equally long: expected ${shape[depth]} elements at depth ${depth}, found ${part.length}.`,
        );
      for (const inner of part) visit(inner, depth + 1);
    }
  };
  visit(value, 0);
  for (const number of flat) checkNumber(dtype, number);
  return { dtype, shape, data: encode(dtype, flat) } as HostArray;
}

/** The array behind a constant. */
export const constantValue = (tensor: Tensor): HostArray | undefined =>
  tensor.node.op === constantOp ? (tensor.node.attributes.value as HostArray) : undefined;

/** The number behind a constant of one element, whatever its dtype. */
export function constantScalar(tensor: Tensor): number | undefined {
  const value = constantValue(tensor);
  return value && elementCount(value.shape) === 1 ? toNumbers(value)[0] : undefined;
}

/** The number that all elements are known to be: a constant of one element, or one that was expanded. */
export const uniformValue = (tensor: Tensor): number | undefined =>
  constantScalar(tensor.node.op.name === "expand" ? (tensor.node.inputs[0] as Tensor) : tensor);

export type Distribution =
  | { readonly kind: "uniform" }
  | { readonly kind: "normal" }
  | { readonly kind: "bernoulli"; readonly probability: number };

export interface NoiseAttributes {
  readonly name: string;
  readonly distribution: Distribution;
}

function noise(dtype: DType, shape: readonly Dim[], distribution: Distribution, name: string): Tensor {
  return makeNode(noiseOp, [], { name: noiseName(name), distribution }, [{ dtype, shape }], currentScope()).outputs[0] as Tensor;
}

/**
 * Random values. Each is a pure function of the program's seed, its name, the step, the micro-step and the element: the
 * compiler adds an input for it and the host fills it, so it is the same on every engine and when it is recomputed.
 */
export const random = {
  /** float32, uniform in [0, 1). */
  uniform: (shape: Shape, name = "uniform"): Tensor => noise("float32", shape, { kind: "uniform" }, name),
  /** float32, standard normal. */
  normal: (shape: Shape, name = "normal"): Tensor => noise("float32", shape, { kind: "normal" }, name),
  /** bool, true with the given probability. */
  bernoulli(shape: Shape, probability: number, name = "bernoulli"): Tensor {
    if (!(probability >= 0 && probability <= 1))
      throw new ArgumentError(`A probability lies in [0, 1], but ${probability} was given.`);
    return noise("bool", shape, { kind: "bernoulli", probability }, name);
  },
};
