/** What an operator needs of the sizes of its operands, in dimensions that may be symbolic. */

import { ShapeError } from "../errors.js";
import type { Atom, Dim } from "./dim.js";

/** `nonNegative` must not be below 0; `otherwise` says what is wrong then. */
export interface SizeRequirement {
  readonly nonNegative: Dim;
  readonly otherwise: string;
}

/** Whether a dimension cannot be negative, because no size is. */
export const isNeverNegative = (dim: Dim): boolean =>
  typeof dim === "number" ? dim >= 0 : dim.terms.every(({ coefficient, atoms }) => coefficient >= 0 && atoms.every(isSize));

/** Whether a dimension is negative whatever its sizes are. */
const isAlwaysNegative = (dim: Dim): boolean =>
  typeof dim === "number"
    ? dim < 0
    : dim.terms.every(({ coefficient, atoms }) => coefficient < 0 && atoms.every(isSize)) &&
      dim.terms.some(({ atoms }) => atoms.length === 0);

/** Not so ⌊(seq − 3) / 2⌋. */
const isSize = ({ quotient }: Atom): boolean => quotient === undefined || isNeverNegative(quotient.numerator);

/** Throws a ShapeError for a requirement that cannot be met. */
export function checkRequirements(requirements: readonly SizeRequirement[]): void {
  for (const { nonNegative, otherwise } of requirements) if (isAlwaysNegative(nonNegative)) throw new ShapeError(otherwise);
}
