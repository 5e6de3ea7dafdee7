/** Symbolic tensors and the nodes that make them. A tensor holds no data: it is a handle on a value of a graph. */

import { TsumikiError } from "../errors.js";
import type { Atom, Dim, Shape } from "./dim.js";
import { computedAtoms, formatShape, SymbolicDim } from "./dim.js";
import type { DType } from "./dtype.js";
import type { OpDefinition } from "./op.js";

/** Whatever an operator needs besides tensors: axes, sizes, flags. Dimensions in it may be symbolic. */
export type Attributes = Readonly<Record<string, unknown>>;

/** One application of an operator. Ids grow with time: sorted by id, nodes are in topological order. */
export interface Node {
  readonly id: number;
  readonly op: OpDefinition;
  readonly inputs: readonly Tensor[];
  /**
   * Values whose shapes tell sizes that are found out while the program runs (`nonZero`), where attributes or results speak of
   * them and the shapes of operands do not. They are edges of the graph like the operands.
   */
  readonly sizes: readonly Tensor[];
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

/** The value that each computed size was found out with. */
const sizeSources = new WeakMap<Atom, Tensor>();

/** Everything that a node needs before it can run. */
export const dependenciesOf = ({ inputs, sizes }: Node): readonly Tensor[] =>
  sizes.length === 0 ? inputs : [...inputs, ...sizes];

/**
 * Makes a node and its output tensors. Operators go through `applyOp`, which checks; leaves come here directly.
 *
 * @param sizes for a node that is rewritten: what has become of the values whose shapes the original needed
 */
export function makeNode(
  op: OpDefinition,
  inputs: readonly Tensor[],
  attributes: Attributes,
  outputTypes: readonly OutputType[],
  scope: string,
  sizes: readonly Tensor[] = op.leaf ? [] : missingSizes(inputs, attributes, outputTypes),
): Node {
  const outputs: Tensor[] = [];
  const node: Node = { id: nextId++, op, inputs, sizes, attributes, outputs, scope };
  for (const [index, type] of outputTypes.entries()) {
    const output = new Tensor(node, index, type.dtype, type.shape);
    outputs.push(output);
    if (!op.leaf) for (const atom of type.shape.flatMap(computedAtoms)) if (!sizeSources.has(atom)) sizeSources.set(atom, output);
  }
  return node;
}

/** Where the computed sizes come from that a node speaks of without an operand that has them. */
function missingSizes(inputs: readonly Tensor[], attributes: Attributes, outputTypes: readonly OutputType[]): readonly Tensor[] {
  const atoms = new Set([...outputTypes.flatMap(({ shape }) => shape.flatMap(computedAtoms)), ...computedAtomsIn(attributes)]);
  if (atoms.size === 0) return [];
  // An operand whose shape speaks of a size, in whatever way, itself depends on where the size comes from.
  const known = new Set(inputs.flatMap(({ shape }) => shape.flatMap(computedAtoms)));
  return [...new Set([...atoms].flatMap((atom) => (known.has(atom) ? [] : (sizeSources.get(atom) ?? []))))];
}

/** Bodies are left out: what they need from outside are operands of the node that has them. */
function computedAtomsIn(value: unknown): readonly Atom[] {
  if (value instanceof SymbolicDim) return computedAtoms(value);
  if (Array.isArray(value)) return value.flatMap(computedAtomsIn);
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return [];
  return Object.values(value).flatMap(computedAtomsIn);
}
