/** Symbolic tensors and the nodes that make them. A tensor holds no data: it is a handle on a value of a graph. */

import { TsumikiError } from "../errors.js";
import type { Dim, Shape } from "./dim.js";
import { formatShape } from "./dim.js";
import type { DType } from "./dtype.js";
import type { OpDefinition } from "./op.js";

/** Whatever an operator needs besides tensors: axes, sizes, flags. Dimensions in it may be symbolic. */
export type Attributes = Readonly<Record<string, unknown>>;

/** One application of an operator. Ids grow with time: sorted by id, nodes are in topological order. */
export interface Node {
  readonly id: number;
  readonly op: OpDefinition;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly outputs: readonly Tensor[];
  /** Path of the module that was being traced, e.g. `layers.3.selfAttn`. */
  readonly scope: string;
}

/** Its methods (`add`, `reshape`, ...) are attached by `methods.ts`; each is the operator function of the same name. */
export class Tensor {
  readonly node: Node;
  /** Which output of the node this is. */
  readonly index: number;
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(node: Node, index: number, dtype: DType, shape: Shape) {
    this.node = node;
    this.index = index;
    this.dtype = dtype;
    this.shape = shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** The size of one axis; negative axes count from the end. */
  size(axis: number): Dim {
    const dim = this.shape.at(axis);
    if (dim === undefined) throw new TsumikiError("SHAPE", `${this.describe()} has no axis ${axis}.`);
    return dim;
  }

  /** How errors speak of this tensor: its origin, type and shape. */
  describe(): string {
    const { op, attributes } = this.node;
    const name = op.leaf && typeof attributes.name === "string" ? ` '${attributes.name}'` : "";
    return `${op.name}${name} ${this.dtype}${formatShape(this.shape)}`;
  }

  [Symbol.toPrimitive](): never {
    throw new TsumikiError(
      "TRACE",
      `A tensor (${this.describe()}) was used as a number, a string or a condition. It has no value while the program is being ` +
        "traced: return it from the compiled function and read it there, or use `where` for a choice inside the program.",
    );
  }
}

let nextId = 0;

/** The id that the next node gets: nodes made from now on have this id or a larger one. */
export const nodeIdMark = (): number => nextId;

export interface OutputType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Makes a node and its output tensors. Operators go through `applyOp`, which checks; leaves come here directly. */
export function makeNode(
  op: OpDefinition,
  inputs: readonly Tensor[],
  attributes: Attributes,
  outputTypes: readonly OutputType[],
  scope: string,
): Node {
  const outputs: Tensor[] = [];
  const node: Node = { id: nextId++, op, inputs, attributes, outputs, scope };
  for (const [index, type] of outputTypes.entries()) outputs.push(new Tensor(node, index, type.dtype, type.shape));
  return node;
}
