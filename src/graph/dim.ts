/**
 * Dimensions: numbers, symbols (`batch`, `seq`) and what arithmetic makes of them (`past + seq`, `batch·seq`).
 *
 * A symbolic dimension is a polynomial with integer coefficients over atoms, kept in one canonical form, so that two ways
 * to say the same size compare as equal. An atom is a symbol, a size that an operator finds out while it runs
 * (`nonZero`), or a quotient that does not divide evenly.
 */

import { ArgumentError, ShapeError, TsumikiError } from "../errors.js";

export type Dim = number | SymbolicDim;
export type Shape = readonly Dim[];

/** An indivisible unknown size. Atoms compare by identity: two inputs that both call a dimension `seq` share one atom. */
export interface Atom {
  readonly id: number;
  readonly name: string;
  /** Set when an operator finds the size out while it runs. */
  readonly computed?: true;
  /** Set when the atom is ⌊numerator / denominator⌋. */
  readonly quotient?: { readonly numerator: SymbolicDim; readonly denominator: number };
}

interface Term {
  readonly coefficient: number;
  /** Sorted by id; a power repeats its atom. */
  readonly atoms: readonly Atom[];
}

const atomsKey = (atoms: readonly Atom[]): string => atoms.map((atom) => atom.id).join("*");

export class SymbolicDim {
  readonly terms: readonly Term[];
  /** Equal exactly when the polynomials are. */
  readonly key: string;

  private constructor(terms: readonly Term[]) {
    this.terms = terms;
    this.key = terms.map((term) => `${term.coefficient}:${atomsKey(term.atoms)}`).join("+");
  }

  /** Collects like terms; a constant comes back as a plain number. */
  static from(terms: Iterable<Term>): Dim {
    const byAtoms = new Map<string, Term>();
    for (const term of terms) {
      const key = atomsKey(term.atoms);
      const coefficient = (byAtoms.get(key)?.coefficient ?? 0) + term.coefficient;
      byAtoms.set(key, { coefficient, atoms: term.atoms });
    }
    const kept = [...byAtoms.entries()].filter(([, term]) => term.coefficient !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
    const [first] = kept;
    if (!first) return 0;
    if (kept.length === 1 && first[1].atoms.length === 0) return first[1].coefficient;
    return new SymbolicDim(kept.map(([, term]) => term));
  }

  toString(): string {
    // The constant comes last: `seq - 1`, not `-1 + seq`.
    return [...this.terms]
      .sort((a, b) => Number(a.atoms.length === 0) - Number(b.atoms.length === 0))
      .map(({ coefficient, atoms }) => {
        const names = atoms.map((atom) => atom.name).join("·");
        if (!names) return String(coefficient);
        return coefficient === 1 ? names : coefficient === -1 ? `-${names}` : `${coefficient}·${names}`;
      })
      .join(" + ")
      .replaceAll("+ -", "- ");
  }

  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new TsumikiError(
      "TRACE",
      `The dimension \`${this.toString()}\` is symbolic: its size is known only when the program runs, so it cannot be used as a number. ` +
        "Use addDims, mulDims and their like, or compile with concrete sizes.",
    );
  }
}

let nextAtom = 0;

function fromAtom(atom: Atom): SymbolicDim {
  return SymbolicDim.from([{ coefficient: 1, atoms: [atom] }]) as SymbolicDim;
}

/** A new symbol. It equals only itself, whatever others are called. */
export function symbol(name: string): SymbolicDim {
  return fromAtom({ id: nextAtom++, name });
}

/** A new size that an operator finds out while it runs; it depends on the data, and may be 0. */
export function computedSize(name: string): SymbolicDim {
  return fromAtom({ id: nextAtom++, name, computed: true });
}

/** The atoms that a dimension is computed from, those inside quotients instead of the quotients. */
export function atomsOf(dim: Dim): readonly Atom[] {
  if (typeof dim === "number") return [];
  return dim.terms.flatMap(({ atoms }) => atoms.flatMap((atom) => (atom.quotient ? atomsOf(atom.quotient.numerator) : [atom])));
}

/** Those about which the data decides. */
export const computedAtoms = (dim: Dim): readonly Atom[] => atomsOf(dim).filter(({ computed }) => computed);

/** Whether the data decides about a dimension. */
export const isComputed = (dim: Dim): boolean => computedAtoms(dim).length > 0;

const termsOf = (dim: Dim): readonly Term[] => (typeof dim === "number" ? [{ coefficient: dim, atoms: [] }] : dim.terms);

export const isStatic = (dim: Dim): dim is number => typeof dim === "number";
export const isStaticShape = (shape: Shape): shape is readonly number[] => shape.every(isStatic);

export const sameDim = (a: Dim, b: Dim): boolean =>
  a === b || (typeof a !== "number" && typeof b !== "number" && a.key === b.key);

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => sameDim(dim, b[i] as Dim));

export const formatShape = (shape: Shape): string => `[${shape.map(String).join(", ")}]`;

export function addDims(...dims: readonly Dim[]): Dim {
  return SymbolicDim.from(dims.flatMap(termsOf));
}

export function subDims(a: Dim, b: Dim): Dim {
  return addDims(a, mulDims(b, -1));
}

export function mulDims(...dims: readonly Dim[]): Dim {
  let product: readonly Term[] = termsOf(1);
  for (const dim of dims) {
    const factor = termsOf(dim);
    product = product.flatMap((a) =>
      factor.map((b) => ({
        coefficient: a.coefficient * b.coefficient,
        atoms: [...a.atoms, ...b.atoms].sort((x, y) => x.id - y.id),
      })),
    );
    // Collect after every factor, so that products of sums stay small.
    product = termsOf(SymbolicDim.from(product));
  }
  return SymbolicDim.from(product);
}

const quotients = new Map<string, Atom>();

/** ⌊a / b⌋. Exact where the polynomial divides; otherwise with an atom of its own (`⌊seq/2⌋`) for what remains. */
export function floorDivDims(a: Dim, b: Dim): Dim {
  if (b === 0) throw new ArgumentError(`The dimension ${String(a)} cannot be divided by zero.`);
  const exact = divideExactly(a, b);
  if (exact !== undefined) return exact;
  if (typeof b !== "number") throw new ShapeError(`The size ${String(a)} is not a multiple of ${String(b)}.`);
  if (b < 0) return floorDivDims(mulDims(a, -1), -b);
  // Whole multiples of b leave the numerator, so that its coefficients lie in [0, b): ⌊(2·seq + 3) / 2⌋ = seq + 1.
  const whole = termsOf(a).map(({ coefficient, atoms }) => ({ coefficient: Math.floor(coefficient / b), atoms }));
  const quotient = SymbolicDim.from(whole);
  return addDims(quotient, quotientAtom(subDims(a, mulDims(quotient, b)), b));
}

function quotientAtom(rest: Dim, b: number): Dim {
  if (typeof rest === "number") return Math.floor(rest / b);
  // ⌊(g·x + c) / (g·b)⌋ = ⌊(x + ⌊c/g⌋) / b⌋
  const divisor = rest.terms.reduce(
    (gcd, { coefficient, atoms }) => (atoms.length ? greatestCommonDivisor(gcd, coefficient) : gcd),
    b,
  );
  const numerator = SymbolicDim.from(
    rest.terms.map(({ coefficient, atoms }) => ({ coefficient: Math.floor(coefficient / divisor), atoms })),
  ) as SymbolicDim;
  const denominator = b / divisor;
  const key = `${numerator.key}/${denominator}`;
  let atom = quotients.get(key);
  if (!atom) {
    const text = numerator.terms.length === 1 ? numerator.toString() : `(${numerator.toString()})`;
    atom = { id: nextAtom++, name: `⌊${text}/${denominator}⌋`, quotient: { numerator, denominator } };
    quotients.set(key, atom);
  }
  return fromAtom(atom);
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? Math.abs(a) : greatestCommonDivisor(b, a % b));

export const ceilDivDims = (a: Dim, b: number): Dim => floorDivDims(addDims(a, b - 1), b);

/** a / b where b divides a as a polynomial (`batch·past + batch·seq` by `past + seq`); otherwise undefined. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  const divisor = leadingTerm(b);
  if (!divisor) return undefined;
  const quotient: Term[] = [];
  let rest = a;
  for (let term = leadingTerm(rest); term; term = leadingTerm(rest)) {
    const factor = divideTerms(term, divisor);
    if (!factor) return undefined;
    quotient.push(factor);
    rest = subDims(rest, mulDims(b, SymbolicDim.from([factor])));
  }
  return SymbolicDim.from(quotient);
}

/** The first term by degree, then by atoms: an order that products keep, as polynomial division needs. */
function leadingTerm(dim: Dim): Term | undefined {
  const before = (a: Term, b: Term): boolean => {
    if (a.atoms.length !== b.atoms.length) return a.atoms.length > b.atoms.length;
    const at = a.atoms.findIndex((atom, i) => atom !== b.atoms[i]);
    return at >= 0 && (a.atoms[at] as Atom).id < (b.atoms[at] as Atom).id;
  };
  if (dim === 0) return undefined;
  return termsOf(dim).reduce((first, term) => (before(term, first) ? term : first));
}

function divideTerms(a: Term, b: Term): Term | undefined {
  const coefficient = a.coefficient / b.coefficient;
  if (!Number.isInteger(coefficient)) return undefined;
  const atoms = [...a.atoms];
  for (const atom of b.atoms) {
    const at = atoms.indexOf(atom);
    if (at < 0) return undefined;
    atoms.splice(at, 1);
  }
  return { coefficient, atoms };
}

export const productOf = (shape: Shape): Dim => mulDims(...shape);

/** The sizes of atoms while a program runs. */
export type Bindings = ReadonlyMap<Atom, number>;

export function bindDim(dim: Dim, bindings: Bindings): number {
  if (typeof dim === "number") return dim;
  let total = 0;
  for (const { coefficient, atoms } of dim.terms)
    total += atoms.reduce((product, atom) => product * bindAtom(atom, bindings), coefficient);
  return total;
}

function bindAtom(atom: Atom, bindings: Bindings): number {
  const bound = bindings.get(atom);
  if (bound !== undefined) return bound;
  if (atom.quotient) return Math.floor(bindDim(atom.quotient.numerator, bindings) / atom.quotient.denominator);
  throw new TsumikiError("FEED", `The dimension \`${atom.name}\` has no size: no input of the program carries it.`);
}

export const bindShape = (shape: Shape, bindings: Bindings): number[] => shape.map((dim) => bindDim(dim, bindings));

/** The atom when the dimension is just one (`seq`, not `seq + 1`). */
export function asAtom(dim: Dim): Atom | undefined {
  if (typeof dim === "number" || dim.terms.length !== 1) return undefined;
  const [term] = dim.terms;
  return term?.coefficient === 1 && term.atoms.length === 1 ? term.atoms[0] : undefined;
}

/**
 * The shape of an elementwise result. Sizes must be equal or literally 1: a symbol broadcasts with itself and with 1 only,
 * because an engine would silently broadcast a `seq` that happens to be 1 and its gradient would be wrong.
 */
export function broadcastShapes(...shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    let size: Dim = 1;
    for (const shape of shapes) {
      const dim = shape[shape.length - rank + i];
      if (dim === undefined || dim === 1 || sameDim(dim, size)) continue;
      if (size !== 1)
        throw new ShapeError(
          `shapes ${shapes.map(formatShape).join(" and ")} do not broadcast: ${String(size)} and ${String(dim)} differ in dimension ${i - rank}`,
        );
      size = dim;
    }
    return size;
  });
}

/** Turns an axis that counts from the end into one from the start. */
export function normalizeAxis(axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank)
    throw new ShapeError(`axis ${axis} is outside a tensor of rank ${rank} (expected ${-rank} to ${rank - 1})`);
  return normal;
}
