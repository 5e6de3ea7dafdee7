/** How elementwise operators are defined: one or two operands, broadcasting, and what a gradient needs to undo it. */

import { DTypeError } from "../../errors.js";
import { broadcastShapes } from "../dim.js";
import { type DType, isFloat, roundTo } from "../dtype.js";
import type { ExampleMaker, OpExample, OperandRange } from "../example.js";
import { constant, uniformValue } from "../leaves.js";
import { applyOp, defineOp, type NoAttributes, type OpTraits } from "../op.js";
import { Tensor } from "../tensor.js";
import { unbroadcast } from "./broadcasting.js";
import { map, zip } from "./reference-math.js";

/** A tensor, or a number that takes the dtype of the tensor it meets. */
export type TensorLike = Tensor | number;

/** Throws a DTypeError when the dtype cannot hold the number, or would make 0 of it. */
function asTensor(value: TensorLike, dtype: DType): Tensor {
  if (value instanceof Tensor) return value;
  if (value !== 0 && isFloat(dtype) && roundTo(dtype, value) === 0)
    throw new DTypeError(
      `A number (${value}) would become 0 as ${dtype}, the dtype of the tensor it meets: cast the tensor to a wider float.`,
    );
  return constant(value, dtype);
}

/** Both operands as tensors; a number becomes a scalar of the other's dtype. */
export function asOperands(a: TensorLike, b: TensorLike): [Tensor, Tensor] {
  if (a instanceof Tensor) return [a, asTensor(b, a.dtype)];
  if (b instanceof Tensor) return [asTensor(a, b.dtype), b];
  return [constant(a), constant(b)];
}

/** Whether a tensor is known to be 0 everywhere, as the gradients of outputs are that nothing reads. */
export const isZero = (x: Tensor): boolean => uniformValue(x) === 0;

interface UnarySpec {
  readonly name: string;
  readonly gentle?: true;
  readonly accepts?: "float" | "integer" | "number" | "bool" | "any";
  readonly dtype?: DType;
  /** dx from the operand x, the result y and the gradient dy. */
  readonly gradient: "nonDifferentiable" | ((x: Tensor, y: Tensor, dy: Tensor) => Tensor);
  /** The ONNX operator that is exactly this, or the face when there is none. */
  readonly onnx: string | Parameters<typeof defineOp<NoAttributes>>[0]["onnx"];
  readonly value: (x: number) => number;
  /** Where to test: away from poles and kinks. */
  readonly range?: OperandRange;
  readonly operand?: (make: ExampleMaker, sizes: readonly (number | string)[]) => OpExample<NoAttributes>["inputs"][number];
  readonly tolerance?: number;
}

export function defineUnary(spec: UnarySpec): (x: Tensor) => Tensor {
  const { gradient, onnx, dtype } = spec;
  const operand = spec.operand ?? ((make, sizes) => make.float(sizes, spec.range));
  const tolerance = spec.tolerance === undefined ? {} : { tolerance: spec.tolerance };
  return defineOp({
    name: spec.name,
    arity: 1,
    accepts: spec.accepts ?? "float",
    traits: { elementwise: true, ...(spec.gentle && { gentle: true }) },
    ...(dtype === undefined ? {} : { dtype: () => dtype }),
    shape: ([x]) => x.shape,
    vjp: gradient === "nonDifferentiable" ? gradient : ({ inputs: [x], outputs: [y], gradients: [dy] }) => [gradient(x, y, dy)],
    onnx: typeof onnx === "string" ? (node, [x]) => node(onnx, [x]) : onnx,
    reference: ([x]) => map(x, spec.value),
    examples: (make) => [
      { inputs: [operand(make, ["a", "b"])], ...tolerance },
      { inputs: [operand(make, [])], ...tolerance },
    ],
  });
}

export interface BinarySpec {
  readonly name: string;
  readonly gentle?: true;
  readonly neutral?: OpTraits["neutral"];
  readonly accepts?: "float" | "integer" | "number" | "bool" | "any";
  readonly dtype?: DType;
  /** Gradients of both operands before broadcasting is undone; `undefined` for an operand that is a constant. */
  readonly gradient:
    | "nonDifferentiable"
    | ((context: {
        readonly a: Tensor;
        readonly b: Tensor;
        readonly y: Tensor;
        readonly dy: Tensor;
      }) => readonly [Tensor, Tensor | undefined]);
  readonly onnx: string | Parameters<typeof defineOp<NoAttributes>>[0]["onnx"];
  readonly value: (a: number, b: number) => number;
  readonly ranges?: readonly [OperandRange, OperandRange];
  readonly operand?: (make: ExampleMaker, sizes: readonly (number | string)[]) => OpExample<NoAttributes>["inputs"][number];
  /** Besides all ways to broadcast, e.g. other element types. */
  readonly more?: (make: ExampleMaker) => readonly OpExample<NoAttributes>[];
}

/** The sizes that broadcasting is tried with: the same, a missing axis, ones on either side, scalars. */
const broadcastings: readonly (readonly [readonly (number | string)[], readonly (number | string)[]])[] = [
  [
    ["a", "b"],
    ["a", "b"],
  ],
  [["a", "b"], ["b"]],
  [
    [1, "b"],
    ["a", 1],
  ],
  [[], ["a"]],
  [
    ["a", 1, "b"],
    ["c", 1],
  ],
];

export function defineBinary(spec: BinarySpec): (a: TensorLike, b: TensorLike) => Tensor {
  const { gradient, onnx, dtype } = spec;
  const operand = (make: ExampleMaker, sizes: readonly (number | string)[], side: 0 | 1) =>
    spec.operand ? spec.operand(make, sizes) : make.float(sizes, spec.ranges?.[side]);
  const { definition } = defineOp({
    name: spec.name,
    arity: 2,
    accepts: spec.accepts ?? "number",
    traits: {
      elementwise: true,
      ...(spec.gentle && { gentle: true }),
      ...(spec.neutral && { neutral: spec.neutral }),
    },
    ...(dtype === undefined ? {} : { dtype: () => dtype }),
    shape: ([a, b]) => broadcastShapes(a.shape, b.shape),
    vjp:
      gradient === "nonDifferentiable"
        ? gradient
        : ({ inputs: [a, b], outputs: [y], gradients: [dy] }) => {
            const [da, db] = gradient({ a, b, y, dy });
            return [unbroadcast(da, a.shape), db && unbroadcast(db, b.shape)];
          },
    onnx: typeof onnx === "string" ? (node, [a, b]) => node(onnx, [a, b]) : onnx,
    reference: ([a, b], _, { outputs }) => zip(outputs[0]?.shape ?? [], [a, b], spec.value),
    examples: (make) => [
      ...broadcastings.map(([a, b]) => ({ inputs: [operand(make, a, 0), operand(make, b, 1)] })),
      ...(spec.more?.(make) ?? []),
    ],
  });
  return (a, b) => applyOp(definition, asOperands(a, b), {})[0] as Tensor;
}
