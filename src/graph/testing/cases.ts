/** From the examples of an operator to concrete cases: letters become sizes, operands become seeded random data. */

import { type Atom, asAtom, type Dim, type Shape, SymbolicDim, symbol } from "../dim.js";
import { isFloat } from "../dtype.js";
import { type ExampleOperand, type ExampleSize, exampleMaker, type OpExample } from "../example.js";
import { elementCount, fromNumbers, type HostArray } from "../host-array.js";
import type { OpDefinition } from "../op.js";
import { namedRandom } from "../random.js";
import { type Attributes, Tensor } from "../tensor.js";

/** One example of an operator with sizes for its letters. */
export interface OpCase {
  readonly definition: OpDefinition;
  /** Position in the list of examples. */
  readonly index: number;
  readonly sizes: ReadonlyMap<string, number>;
  /** For titles and errors, e.g. `matmul #2 (a=2, b=0)`. */
  readonly label: string;
  /** Which corner the sizes are in. The `larger` sizes differ from the `typical` ones in every letter. */
  readonly kind: "typical" | "larger" | "ones" | "empty";
}

/** Every example with several sizes: typical ones, others, all 1, and each letter 0 where the example allows it. */
export function casesOf(definition: OpDefinition): readonly OpCase[] {
  return lettersOfExamples(definition).flatMap(({ example, letters }, index) =>
    bindingsFor(example, [...letters])
      .filter(({ sizes }) => example.inputs.every((operand) => canBeDrawn(operand, sizes)))
      .map(({ kind, sizes }) => ({ definition, index, kind, sizes, label: caseLabel(definition, index, sizes) })),
  );
}

const caseLabel = (definition: OpDefinition, index: number, sizes: ReadonlyMap<string, number>): string =>
  `${definition.name} #${index}${sizes.size ? ` (${[...sizes].map(([letter, size]) => `${letter}=${size}`).join(", ")})` : ""}`;

/** Letters as numbers. All examples of an operator are made at once: letters of the others get some size too. */
export const concreteDims =
  ({ sizes }: OpCase) =>
  (letter: string): number =>
    sizes.get(letter) ?? 3;

/** The example of a case with numbers for its letters. */
export const concreteExample = (testCase: OpCase): OpExample<Attributes> =>
  exampleAt(testCase.definition, testCase.index, concreteDims(testCase));

export function exampleAt(definition: OpDefinition, index: number, dims: (letter: string) => Dim): OpExample<Attributes> {
  return definition.examples(exampleMaker(dims))[index] as OpExample<Attributes>;
}

/** Sizes of an operand's axes. */
export const operandShape = (operand: ExampleOperand, dims: (letter: string) => Dim): Shape =>
  operand.sizes.map((size) => (typeof size === "number" ? size : dims(size)));

/** The same symbol for the same letter. */
export function symbols(): (letter: string) => SymbolicDim {
  const known = new Map<string, SymbolicDim>();
  return (letter) => {
    const dim = known.get(letter) ?? symbol(letter);
    known.set(letter, dim);
    return dim;
  };
}

/** The letters of each example, whether operands or attributes name them. */
function lettersOfExamples(
  definition: OpDefinition,
): readonly { readonly example: OpExample<Attributes>; readonly letters: ReadonlySet<string> }[] {
  const dims = symbols();
  return definition.examples(exampleMaker(dims)).map((example) => {
    const letters = new Set<string>();
    for (const { sizes, high } of example.inputs)
      for (const size of [...sizes, high]) if (typeof size === "string") letters.add(size);
    for (const { name, id } of atomsIn(example.attributes)) if (asAtom(dims(name))?.id === id) letters.add(name);
    return { example, letters };
  });
}

function atomsIn(value: unknown): readonly Atom[] {
  if (value instanceof SymbolicDim)
    return value.terms.flatMap(({ atoms }) =>
      atoms.flatMap((atom) => (atom.quotient ? atomsIn(atom.quotient.numerator) : [atom])),
    );
  if (value instanceof Tensor) return atomsIn(value.shape);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return [];
  return Object.values(value).flatMap(atomsIn);
}

function bindingsFor(
  { empty = true, atLeast }: OpExample<Attributes>,
  letters: readonly string[],
): readonly { readonly kind: OpCase["kind"]; readonly sizes: ReadonlyMap<string, number> }[] {
  const smallest = atLeast ?? (empty ? 0 : 1);
  const first = Math.max(smallest, 2);
  const sizes = (size: (i: number) => number) => new Map(letters.map((letter, i) => [letter, size(i)]));
  const typical = sizes((i) => first + i);
  if (letters.length === 0) return [{ kind: "typical", sizes: typical }];
  const count = letters.length;
  // The sum of both sizes of a letter is odd, so they differ.
  const larger = sizes((i) => first + count - i + (count % 2 === 0 ? 1 : 0));
  return [
    { kind: "typical", sizes: typical },
    { kind: "larger", sizes: larger },
    ...(smallest <= 1 ? [{ kind: "ones" as const, sizes: sizes(() => 1) }] : []),
    ...(smallest === 0 && empty
      ? letters.map((letter) => ({ kind: "empty" as const, sizes: new Map(typical).set(letter, 0) }))
      : []),
  ];
}

function sizeOf(size: ExampleSize, sizes: ReadonlyMap<string, number>): number {
  const bound = typeof size === "number" ? size : sizes.get(size);
  if (bound === undefined) throw new Error(`The letter '${size}' has no size.`);
  return bound;
}

/** Indices into nothing do not exist, unless none are wanted. */
function canBeDrawn({ sizes: axes, low, high }: ExampleOperand, sizes: ReadonlyMap<string, number>): boolean {
  return sizeOf(high, sizes) > low || axes.some((size) => sizeOf(size, sizes) === 0);
}

/** The data of an operand: the same for the same key. */
export function drawOperand(operand: ExampleOperand, sizes: ReadonlyMap<string, number>, key: string): HostArray {
  const shape = operand.sizes.map((size) => sizeOf(size, sizes));
  const high = sizeOf(operand.high, sizes);
  const random = namedRandom(20_21, key);
  const draw = isFloat(operand.dtype)
    ? () => operand.low + (high - operand.low) * random.uniform()
    : () => operand.low + random.below(high - operand.low);
  return fromNumbers(operand.dtype, shape, Array.from({ length: elementCount(shape) }, draw));
}
