/** Symbolic sizes become numbers: from the shapes of what is fed, and from what operators find out while they run. */

import { ShapeError, TsumikiError } from "../../errors.js";
import { type Atom, asAtom, type Bindings, bindDim, type Dim, formatShape, type Shape, SymbolicDim } from "../../graph/dim.js";
import type { Attributes } from "../../graph/tensor.js";

/** The size of a dimension, or `undefined` while one of its atoms has none. */
function boundSize(dim: Dim, bindings: Bindings): number | undefined {
  if (typeof dim === "number") return dim;
  const known = (atom: Atom): boolean =>
    bindings.has(atom) || (atom.quotient !== undefined && boundSize(atom.quotient.numerator, bindings) !== undefined);
  return dim.terms.every((term) => term.atoms.every(known)) ? bindDim(dim, bindings) : undefined;
}

/**
 * Compares concrete shapes with declared ones. A declared dimension that is an atom without a size takes the one that is
 * given; everything else must agree.
 *
 * @param describe names the value in errors, e.g. "The input 'ids'".
 */
export function matchShape(declared: Shape, given: readonly number[], bindings: Map<Atom, number>, describe: () => string): void {
  const mismatch = (reason: string): ShapeError =>
    new ShapeError(`${describe()} is declared as ${formatShape(declared)}, but has the shape ${formatShape(given)}: ${reason}.`);
  if (declared.length !== given.length) throw mismatch(`${declared.length} axes were expected, not ${given.length}`);
  for (const [axis, dim] of declared.entries()) {
    const size = given[axis] as number;
    const atom = asAtom(dim);
    if (atom && !atom.quotient && !bindings.has(atom)) bindings.set(atom, size);
  }
  for (const [axis, dim] of declared.entries()) {
    const expected = boundSize(dim, bindings);
    if (expected !== undefined && expected !== given[axis])
      throw mismatch(typeof dim === "number" ? `axis ${axis} differs` : `\`${String(dim)}\` is ${expected} here`);
  }
}

/** Sizes of all atoms that the shapes of the inputs carry. */
export function bindInputs(
  inputs: ReadonlyMap<string, { readonly declared: Shape; readonly given: readonly number[] }>,
): Map<Atom, number> {
  const bindings = new Map<Atom, number>();
  // Twice: a sum such as `past + seq` can be checked only when later inputs have said what its symbols are.
  for (let round = 0; round < 2; round++)
    for (const [name, { declared, given }] of inputs) matchShape(declared, given, bindings, () => `The input '${name}'`);
  return bindings;
}

/** A shape as numbers; `undefined` where an operator has still to find out a size. */
export function bindKnown(shape: Shape, bindings: Bindings): readonly number[] | undefined {
  const sizes = shape.map((dim) => boundSize(dim, bindings));
  return sizes.includes(undefined) ? undefined : (sizes as number[]);
}

/**
 * Attributes in which each dimension is a number. One that only the operator itself finds out (the count of `nonZero`)
 * stays symbolic: nobody can know it yet.
 */
export function bindAttributes(attributes: Attributes, bindings: Bindings): Attributes {
  return bindValue(attributes, bindings) as Attributes;
}

function bindValue(value: unknown, bindings: Bindings): unknown {
  if (value instanceof SymbolicDim) return boundSize(value, bindings) ?? value;
  if (Array.isArray(value)) return value.map((item) => bindValue(item, bindings));
  if (isPlainObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, bindValue(item, bindings)]));
  return value;
}

/** Tensors, typed arrays and functions in attributes are left as they are. */
const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** For attributes of a graph that should have had sizes by now. */
export const unboundError = (what: string, shape: Shape): TsumikiError =>
  new TsumikiError("FEED", `${what} has the shape ${formatShape(shape)}, of which no input tells the size.`);
